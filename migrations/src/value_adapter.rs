use std::fmt;

use annals_journal::{Codec, Manifest};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chain::{Chain, Stage, Stored};
use crate::kind_adapter::{manifest_of, undecodable};
use crate::{
    AdaptError, CodecError, Encoded, Form, Migrations, ReadShape, Schema, SchemaError, Shape, Versions, codec,
};

/// Stores values of one type under one manifest: what a state's and a command's adapter have in common.
pub(crate) struct ValueAdapter<T> {
    today: Form,
    codec: Codec,
    chain: Chain<T>,
}

impl<T: Serialize + DeserializeOwned + 'static> ValueAdapter<T> {
    pub(crate) fn new(kind: &str, schema: &Schema, migrations: Migrations<T>) -> Result<Self, SchemaError> {
        let today = Form::new(manifest_of(schema, kind)?, schema.version);
        let chain = Chain::new(
            kind,
            &[(today.manifest.clone(), today.version, schema.codec)],
            migrations,
            |_, stage| match stage {
                Stage::Json(value) => codec::decode_json_value(value),
                Stage::Typed(typed) => codec::decode_json_value(typed.json()?),
                stage => match stage.into_stored()? {
                    (Codec::Json, payload) => codec::decode_json(&payload),
                    (other, _) => Err(CodecError::custom(format!("the last step yields {other}, not JSON"))),
                },
            },
        )?;
        Ok(Self { today, codec: schema.codec, chain: chain.stored_whole() })
    }

    pub(crate) fn today(&self) -> &Form {
        &self.today
    }

    pub(crate) fn versions(&self) -> Vec<Versions> {
        self.chain.versions()
    }

    pub(crate) fn shapes(&self) -> Vec<ReadShape> {
        let (form, codec) = (self.today.clone(), Some(self.codec));
        let today = ReadShape { form, codec, shape: Some(Shape::of::<T>()) };
        std::iter::once(today).chain(self.chain.shapes()).collect()
    }

    pub(crate) fn encode(&self, value: &T) -> Result<Encoded, AdaptError> {
        let Form { manifest, version } = self.today.clone();
        match codec::encode_json(value) {
            Ok(payload) => Ok(Encoded {
                manifest,
                schema_version: version,
                codec: self.codec,
                payload,
                read_back: false,
            }),
            Err(reason) => Err(AdaptError::Unencodable { manifest, version, reason }),
        }
    }

    pub(crate) fn encode_as(&self, value: &T, form: &Form) -> Result<Encoded, AdaptError> {
        let encoded = self.encode(value)?;
        if *form == self.today { Ok(encoded) } else { self.chain.write_as(0, encoded, form) }
    }

    pub(crate) fn decode(
        &self,
        manifest: &Manifest,
        version: u32,
        codec: Codec,
        payload: &Bytes,
    ) -> Result<T, AdaptError> {
        let stored = Stored { manifest, version, codec, payload };
        if *manifest == self.today.manifest && version == self.today.version && codec == self.codec {
            return codec::decode_json(payload).map_err(|reason| undecodable(manifest, version, reason));
        }
        let (mut values, mut count) = (None, 0_usize);
        let mut each = |value| {
            values = Some(value);
            count += 1;
        };
        if *manifest == self.today.manifest {
            self.chain.read_older(0, stored, &mut each)?;
        } else {
            self.chain.read_other(stored, &mut each)?;
        }
        match values {
            Some(value) if count == 1 => Ok(value),
            _ => {
                let reason = CodecError::custom(format!("its steps yield {count} values, one belongs there"));
                Err(undecodable(manifest, version, reason))
            }
        }
    }
}

impl<T> fmt::Debug for ValueAdapter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueAdapter").field("today", &self.today).field("codec", &self.codec).finish()
    }
}
