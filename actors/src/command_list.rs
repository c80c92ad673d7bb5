use annals_journal::Codec;
use annals_migrations::{
    AdaptError, Command, CommandAdapter, Encoded, Form, ReadShape, SchemaError, Versions,
};
use bytes::Bytes;

use crate::{Handle, PersistentActor};

/// A tuple of commands that an actor handles, such as `(Deposit, Withdraw)`.
pub trait CommandList<A: ?Sized> {
    /// The versions of the commands' manifests for entities of a kind, in the order of the list.
    ///
    /// # Errors
    /// [`SchemaError`] when a command has no manifest there, or its steps between versions have a gap.
    fn versions(kind: &str) -> Result<Vec<Versions>, SchemaError>;

    /// The shapes of what is read as one of the commands, for the lock file.
    ///
    /// # Errors
    /// As [`CommandList::versions`].
    fn shapes(kind: &str) -> Result<Vec<ReadShape>, SchemaError>;

    /// What is sent today of a command that was sent in a form; `None`: no command of the list is read from that manifest.
    ///
    /// # Errors
    /// [`AdaptError`] when this build cannot read it.
    fn sent_again(
        kind: &str,
        form: &Form,
        codec: Codec,
        payload: &Bytes,
    ) -> Option<Result<Encoded, AdaptError>>;
}

/// Says that a list has a command; `At` is its place, which is inferred.
#[diagnostic::on_unimplemented(
    message = "`{C}` is not among the actor's commands",
    label = "add it to `type Commands = (…)` in the actor's `impl PersistentActor`"
)]
pub trait Lists<C, At> {}

/// A place in a list of commands.
#[derive(Debug)]
pub struct At<const N: usize>;

macro_rules! command_list {
    ($($command:ident $at:literal),*) => {
        impl<Actor, $($command),*> CommandList<Actor> for ($($command,)*)
        where
            Actor: PersistentActor $(+ Handle<$command>)*,
            $($command: Command,)*
        {
            fn versions(kind: &str) -> Result<Vec<Versions>, SchemaError> {
                let mut versions = Vec::new();
                $(versions.extend(CommandAdapter::<$command>::new(kind)?.versions());)*
                Ok(versions)
            }

            fn shapes(kind: &str) -> Result<Vec<ReadShape>, SchemaError> {
                let mut shapes = Vec::new();
                $(shapes.extend(CommandAdapter::<$command>::new(kind)?.shapes());)*
                Ok(shapes)
            }

            fn sent_again(
                kind: &str,
                form: &Form,
                codec: Codec,
                payload: &Bytes,
            ) -> Option<Result<Encoded, AdaptError>> {
                $(
                    if let Ok(adapter) = CommandAdapter::<$command>::new(kind)
                        && adapter.versions().iter().any(|of| of.manifest == form.manifest)
                    {
                        let command = adapter.decode(&form.manifest, form.version, codec, payload);
                        return Some(command.and_then(|command| adapter.encode(&command)));
                    }
                )*
                None
            }
        }
        command_list!(@lists ($($command),*) $($command $at),*);
    };
    (@lists $all:tt) => {};
    (@lists $all:tt $head:ident $at:literal $(, $rest:ident $rest_at:literal)*) => {
        command_list!(@one $all $head $at);
        command_list!(@lists $all $($rest $rest_at),*);
    };
    (@one ($($command:ident),*) $this:ident $at:literal) => {
        impl<$($command),*> Lists<$this, At<$at>> for ($($command,)*) {}
    };
}

command_list!(A 0);
command_list!(A 0, B 1);
command_list!(A 0, B 1, C 2);
command_list!(A 0, B 1, C 2, D 3);
command_list!(A 0, B 1, C 2, D 3, E 4);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14);
command_list!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14, P 15);
