//! Makes connections: TCP, TLS, handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, CommonState};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate_names;
use super::context::Context;
use super::frame::FrameReader;
use super::handshake::{
    Acceptor, Agreed, Initiator, MOST_HANDSHAKE_BYTES, PREAMBLE, Progress, protocol, refusal_frame,
};
use super::hello::{Refusal, RefusalKind};
use super::lane::Lane;
use crate::NodeAddress;

/// A connection over which two nodes have agreed to talk.
pub(crate) struct Connection {
    pub(crate) agreed: Agreed,
    pub(crate) stream: Stream,
    /// What came after the handshake.
    pub(crate) received: BytesMut,
    /// Of the credentials that it was made with.
    pub(crate) generation: u64,
}

/// TCP or TLS.
pub(crate) type Stream = Box<dyn Duplex>;

/// Reads and writes.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotConnected {
    #[error("{0}")]
    Io(#[source] io::Error),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Refused(Refusal),
    #[error("no answer in time: see whether packets are dropped on the way, or the process hangs")]
    TimedOut,
}

impl NotConnected {
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::Io(_) => "io",
            Self::Tls(_) => "tls",
            Self::Refused(refusal) => refusal.kind.label(),
            Self::TimedOut => "timed out",
        }
    }
}

impl From<Refusal> for NotConnected {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for NotConnected {
    /// What TLS found wrong comes as an I/O error.
    fn from(error: io::Error) -> Self {
        let found = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match found {
            Some(found) => Self::Tls(of_tls(found)),
            None => Self::Io(error),
        }
    }
}

fn of_tls(error: &rustls::Error) -> String {
    let remedy = match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the other node's certificate has expired, or a clock is wrong"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the other node's certificate is not valid yet, or a clock is wrong"
            }
            CertificateError::UnknownIssuer => {
                "the other node's certificate is of no root that is trusted here: see both nodes' roots"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the other node's certificate does not name the host that it was asked for under"
            }
            _ => "the other node's certificate cannot be used",
        },
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::CertificateExpired => {
                "the other node finds this node's certificate expired, or its clock is wrong"
            }
            AlertDescription::UnknownCA | AlertDescription::DecryptError => {
                "the other node does not trust this node's certificate: see its roots"
            }
            AlertDescription::CertificateRequired => "the other node asks for a certificate",
            AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
                "the other node cannot use this node's certificate"
            }
            _ => "the other node ended TLS",
        },
        rustls::Error::NoCertificatesPresented => "the other side has shown no certificate",
        rustls::Error::InvalidMessage(_) => "what listens there speaks no TLS: is it a node with plaintext?",
        _ => "TLS failed",
    };
    format!("{remedy} ({error})")
}

/// Connects and agrees.
pub(crate) async fn connect(
    context: &Context,
    to: &NodeAddress,
    lane: Lane,
) -> Result<Connection, NotConnected> {
    let work = connect_at_leisure(context, to, lane);
    match tokio::time::timeout(context.settings.connect_within, work).await {
        Ok(connected) => connected,
        Err(_) => Err(NotConnected::TimedOut),
    }
}

async fn connect_at_leisure(
    context: &Context,
    to: &NodeAddress,
    lane: Lane,
) -> Result<Connection, NotConnected> {
    let tcp = TcpStream::connect((to.host(), to.port())).await?;
    prepare(context, &tcp)?;
    let loaded = context.credentials.current();
    let (mut stream, binding): (Stream, _) = match &loaded.tls {
        None => {
            admit_plaintext(context, tcp.peer_addr()?)?;
            (Box::new(tcp), Vec::new())
        }
        Some(tls) => {
            let name = ServerName::try_from(to.host().to_owned())
                .map_err(|_| NotConnected::Tls(format!("no certificate can name {:?}", to.host())))?;
            let stream = TlsConnector::from(Arc::clone(&tls.client)).connect(name, tcp).await?;
            let (_, tls_state) = stream.get_ref();
            let certificate = shown(tls_state)?;
            certificate_names::check(&certificate, to.host(), tls.wildcards).map_err(NotConnected::Tls)?;
            let binding = tls_state
                .export_keying_material([0; 32], EXPORTER, None)
                .map_err(|error| exporting(&error))?;
            (Box::new(stream), binding.to_vec())
        }
    };
    let party = context.party(&loaded, binding);
    let (mut initiator, hello) = Initiator::begin(party, to.clone(), lane);
    stream.write_all(&hello).await?;
    stream.flush().await?;
    let mut received = BytesMut::new();
    loop {
        let frame = handshake_frame(&mut stream, &mut received).await?;
        match initiator.received(&frame)? {
            Progress::Send(frame) => {
                stream.write_all(&frame).await?;
                stream.flush().await?;
            }
            Progress::Done(agreed, _) => {
                return Ok(Connection { agreed, stream, received, generation: loaded.generation });
            }
        }
    }
}

/// Agrees with whoever has connected; who is refused is told why.
pub(crate) async fn accept(context: &Context, tcp: TcpStream) -> Result<Connection, NotConnected> {
    let work = accept_at_leisure(context, tcp);
    match tokio::time::timeout(context.settings.connect_within, work).await {
        Ok(accepted) => accepted,
        Err(_) => Err(NotConnected::TimedOut),
    }
}

async fn accept_at_leisure(context: &Context, tcp: TcpStream) -> Result<Connection, NotConnected> {
    prepare(context, &tcp)?;
    let loaded = context.credentials.current();
    let mut certificate = None;
    let mut wildcards = false;
    let (mut stream, binding): (Stream, _) = match &loaded.tls {
        None => {
            admit_plaintext(context, tcp.peer_addr()?)?;
            (Box::new(tcp), Vec::new())
        }
        Some(tls) => {
            let accepting = TlsAcceptor::from(Arc::clone(&tls.server)).accept(tcp).into_fallible();
            let stream = match accepting.await {
                Ok(stream) => stream,
                Err((error, mut tcp)) => {
                    end_gently(&mut tcp).await;
                    return Err(error.into());
                }
            };
            let (_, tls_state) = stream.get_ref();
            certificate = Some(shown(tls_state)?);
            wildcards = tls.wildcards;
            let binding = tls_state
                .export_keying_material([0; 32], EXPORTER, None)
                .map_err(|error| exporting(&error))?;
            (Box::new(stream), binding.to_vec())
        }
    };
    let names = |address: &NodeAddress| match &certificate {
        Some(certificate) => certificate_names::check(certificate, address.host(), wildcards),
        None => Ok(()),
    };
    let most = context.most_frame_bytes().map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    let mut acceptor = Acceptor::new(context.party(&loaded, binding), most);
    let mut received = BytesMut::new();
    preamble(&mut stream, &mut received).await?;
    loop {
        let frame = handshake_frame(&mut stream, &mut received).await?;
        match acceptor.received(&frame, &names) {
            Ok(Progress::Send(frame)) => {
                stream.write_all(&frame).await?;
                stream.flush().await?;
            }
            Ok(Progress::Done(agreed, last)) => {
                stream.write_all(&last.unwrap_or_default()).await?;
                stream.flush().await?;
                return Ok(Connection { agreed, stream, received, generation: loaded.generation });
            }
            Err(refusal) => {
                stream.write_all(&refusal_frame(refusal.clone())).await?;
                end_gently(&mut stream).await;
                return Err(refusal.into());
            }
        }
    }
}

/// Reads what is under way, so that the other side reads the last words before it learns that the connection is gone.
async fn end_gently(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut rest = [0; 1_024];
    let reading = async {
        let _ = stream.shutdown().await;
        for _ in 0..64 {
            if !matches!(stream.read(&mut rest).await, Ok(1..)) {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(GENTLY, reading).await;
}

async fn preamble(stream: &mut Stream, received: &mut BytesMut) -> Result<(), NotConnected> {
    while received.len() < PREAMBLE.len() {
        if !PREAMBLE.starts_with(received) {
            return Err(protocol().into());
        }
        read_some(stream, received).await?;
    }
    if received.split_to(PREAMBLE.len()) == PREAMBLE[..] { Ok(()) } else { Err(protocol().into()) }
}

async fn handshake_frame(stream: &mut Stream, received: &mut BytesMut) -> Result<Bytes, NotConnected> {
    loop {
        let frame = FrameReader { most: MOST_HANDSHAKE_BYTES }.next(received).map_err(|_| protocol())?;
        match frame {
            Some(frame) => return Ok(frame),
            None => read_some(stream, received).await?,
        }
    }
}

async fn read_some(stream: &mut Stream, received: &mut BytesMut) -> Result<(), NotConnected> {
    received.reserve(256);
    if stream.read_buf(received).await? == 0 {
        let ended = "the other side ended the connection: it has as many as it takes, or is no node";
        return Err(NotConnected::Io(io::Error::new(io::ErrorKind::UnexpectedEof, ended)));
    }
    Ok(())
}

fn shown(state: &CommonState) -> Result<CertificateDer<'static>, NotConnected> {
    let certificates = state.peer_certificates().and_then(|certificates| certificates.first());
    certificates
        .map(|certificate| certificate.clone().into_owned())
        .ok_or_else(|| NotConnected::Tls(of_tls(&rustls::Error::NoCertificatesPresented)))
}

fn exporting(error: &rustls::Error) -> NotConnected {
    NotConnected::Tls(of_tls(error))
}

fn prepare(context: &Context, tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    // What a peer has not acknowledged for so long is given up: else TCP would wait longer and longer to send it again, and a connection
    // would be silent long after a cut has ended.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(context.settings.stalled_after))?;
    socket.set_keepalive(true)
}

fn admit_plaintext(context: &Context, peer: SocketAddr) -> Result<(), NotConnected> {
    if context.plaintext_anywhere() || peer.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let reason = format!("plaintext to {peer}, which is another machine, is not allowed: use TLS");
    Err(Refusal::new(RefusalKind::Protocol, reason).into())
}

/// For the last words of a connection that is refused.
const GENTLY: Duration = Duration::from_secs(1);

const EXPORTER: &[u8] = b"EXPORTER-annals-cluster-secret";
