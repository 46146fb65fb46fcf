//! Watches the HTTP/2 frames of a connection go by, for what grpc-go does below HTTP/2's own rules.
//!
//! A client that pings too often is told so (GOAWAY, ENHANCE_YOUR_CALM, `too_many_pings`) and
//! disconnected; Go clients then double their interval. The rule is grpc-go's: a ping is a strike
//! if it follows the one before within the allowed interval (two hours while no call is open),
//! a third strike ends the connection, and whatever we send in answer to a call clears the strikes.
//! The HTTP/2 library neither shows pings nor sends such a GOAWAY, so both are done here, between
//! it and the socket: only frame headers are looked at, and our frame is put in where a frame ends.
//! The one thing that is changed on its way is an `:authority` that is none; see `authority`.

use super::authority::Authorities;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const FRAME_HEADER_BYTES: usize = 9;
const PREFACE_BYTES: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const ACK: u8 = 1;

/// Strikes that are forgiven.
const STRIKES_MAX: u8 = 2;
/// The allowed interval while no call is open.
const IDLE_INTERVAL: Duration = Duration::from_secs(2 * 60 * 60);

/// What the guard shares with the connection's driver.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Reads that brought something; shows whether the client is alive.
    pub reads: AtomicU64,
    /// Calls that are open.
    pub open_calls: AtomicUsize,
}

/// A socket with a guard in front. `prefix` was read before and comes first.
pub(super) struct Guarded<S> {
    socket: S,
    prefix: bytes::Bytes,
    inbound: FrameWalk,
    authorities: Authorities,
    outbound: FrameWalk,
    police: Police,
    traffic: Arc<Traffic>,
    /// The farewell to a client that pings too often, and how much of it is written.
    farewell: Option<(Vec<u8>, usize)>,
}

impl<S> Guarded<S> {
    pub(super) fn new(
        socket: S,
        prefix: bytes::Bytes,
        ping_interval_min: Duration,
        traffic: Arc<Traffic>,
    ) -> Guarded<S> {
        Guarded {
            socket,
            prefix,
            inbound: FrameWalk {
                skip: PREFACE_BYTES,
                ..FrameWalk::default()
            },
            authorities: Authorities::default(),
            outbound: FrameWalk::default(),
            police: Police::new(ping_interval_min),
            traffic,
            farewell: None,
        }
    }

    fn saw_inbound(&mut self, bytes: &mut [u8]) {
        let police = &mut self.police;
        let mut guilty = false;
        let mut at = 0;
        while let Some(step) = self.inbound.step(bytes, &mut at) {
            match step {
                Step::Payload(range) => self.authorities.pass(&mut bytes[range]),
                Step::Header(frame) if frame.kind == HEADERS => {
                    police.last_stream = police.last_stream.max(frame.stream);
                    self.authorities.begin(frame.flags);
                }
                Step::Header(frame) => {
                    self.authorities.end();
                    if frame.kind == PING && frame.flags & ACK == 0 {
                        let idle = self.traffic.open_calls.load(Ordering::Relaxed) == 0;
                        guilty |= police.ping(Instant::now(), idle);
                    }
                }
            }
        }
        if guilty && self.farewell.is_none() {
            self.farewell = Some((too_many_pings(self.police.last_stream), 0));
        }
    }

    fn saw_outbound(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(step) = self.outbound.step(bytes, &mut at) {
            if matches!(step, Step::Header(frame) if matches!(frame.kind, DATA | HEADERS)) {
                self.police.clear_next = true;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Guarded<S> {
    /// Writes the farewell if one is due. It begins when the library flushes at the end of a
    /// frame, so that the ping is answered first; then the connection is over.
    fn poll_farewell(&mut self, cx: &mut Context<'_>, flushing: bool) -> Poll<io::Result<()>> {
        let Some((bytes, written)) = &mut self.farewell else {
            return Poll::Ready(Ok(()));
        };
        if *written == 0 && !(flushing && self.outbound.at_boundary()) {
            return Poll::Ready(Ok(()));
        }
        while *written < bytes.len() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &bytes[*written..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += n;
        }
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::ConnectionAborted,
            "too many pings",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if this.prefix.is_empty() {
            ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        } else {
            let part = this.prefix.split_to(this.prefix.len().min(buf.remaining()));
            buf.put_slice(&part);
        }
        let new = &mut buf.filled_mut()[before..];
        if !new.is_empty() {
            this.traffic.reads.fetch_add(1, Ordering::Relaxed);
            this.saw_inbound(new);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_farewell(cx, false))?;
        let n = ready!(Pin::new(&mut self.socket).poll_write(cx, buf))?;
        self.saw_outbound(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_farewell(cx, false))?;
        let n = ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, bufs))?;
        let mut left = n;
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            self.saw_outbound(part);
            left -= part.len();
        }
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_farewell(cx, true))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// GOAWAY with ENHANCE_YOUR_CALM.
fn too_many_pings(last_stream: u32) -> Vec<u8> {
    const GOAWAY: u8 = 7;
    const ENHANCE_YOUR_CALM: u32 = 11;
    const REASON: &[u8] = b"too_many_pings";
    let len = 8 + REASON.len() as u8;
    let mut frame = vec![0, 0, len, GOAWAY, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&last_stream.to_be_bytes());
    frame.extend_from_slice(&ENHANCE_YOUR_CALM.to_be_bytes());
    frame.extend_from_slice(REASON);
    frame
}

/// The header of a frame.
struct FrameHeader {
    kind: u8,
    flags: u8,
    stream: u32,
}

/// What comes by.
enum Step {
    Header(FrameHeader),
    /// A part of a frame's payload, or of what comes before the first frame.
    Payload(Range<usize>),
}

/// Finds the frame headers in a byte stream that comes in arbitrary parts.
#[derive(Debug, Default)]
struct FrameWalk {
    /// Bytes until the next frame header.
    skip: usize,
    header: [u8; FRAME_HEADER_BYTES],
    /// Bytes of `header` that are there.
    have: usize,
}

impl FrameWalk {
    fn at_boundary(&self) -> bool {
        self.skip == 0 && self.have == 0
    }

    /// The next thing in `bytes` from `at` on, which moves; none at the end.
    fn step(&mut self, bytes: &[u8], at: &mut usize) -> Option<Step> {
        if self.skip > 0 && *at < bytes.len() {
            let from = *at;
            *at += self.skip.min(bytes.len() - from);
            self.skip -= *at - from;
            return Some(Step::Payload(from..*at));
        }
        let taken = (FRAME_HEADER_BYTES - self.have).min(bytes.len() - *at);
        self.header[self.have..self.have + taken].copy_from_slice(&bytes[*at..*at + taken]);
        self.have += taken;
        *at += taken;
        if self.have < FRAME_HEADER_BYTES {
            return None;
        }
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        self.have = 0;
        self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Step::Header(FrameHeader {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }))
    }
}

/// Counts strikes.
#[derive(Debug)]
struct Police {
    interval_min: Duration,
    last_ping: Option<Instant>,
    strikes: u8,
    /// The next ping is free, since something was sent.
    clear_next: bool,
    /// The highest stream that the client has opened.
    last_stream: u32,
}

impl Police {
    fn new(interval_min: Duration) -> Police {
        Police {
            interval_min,
            last_ping: None,
            strikes: 0,
            clear_next: false,
            last_stream: 0,
        }
    }

    /// Counts a ping; tells whether it was one too many.
    fn ping(&mut self, now: Instant, idle: bool) -> bool {
        let before = self.last_ping.replace(now);
        if std::mem::take(&mut self.clear_next) {
            self.strikes = 0;
            return false;
        }
        let allowed = if idle {
            IDLE_INTERVAL
        } else {
            self.interval_min
        };
        if before.is_some_and(|before| now.duration_since(before) < allowed) {
            self.strikes = self.strikes.saturating_add(1);
        }
        self.strikes > STRIKES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&stream.to_be_bytes());
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = [
            frame(HEADERS, 4, 7, &[6; 40]),
            frame(PING, 0, 0, &[6; 8]),
            frame(DATA, 0, 7, &[]),
            frame(DATA, 1, 7, &[6; 300]),
        ]
        .concat();
        for step in 1..=bytes.len() {
            let mut walk = FrameWalk::default();
            let mut seen = Vec::new();
            let mut payload = 0;
            for part in bytes.chunks(step) {
                let mut at = 0;
                while let Some(step) = walk.step(part, &mut at) {
                    match step {
                        Step::Header(frame) => seen.push((frame.kind, frame.flags, frame.stream)),
                        Step::Payload(range) => payload += range.len(),
                    }
                }
            }
            assert_eq!(payload, 348, "in parts of {step}");
            assert_eq!(
                seen,
                [(HEADERS, 4, 7), (PING, 0, 0), (DATA, 0, 7), (DATA, 1, 7)]
            );
            assert!(walk.at_boundary(), "in parts of {step}");
        }
    }

    #[test]
    fn the_third_strike_is_one_too_many() {
        let start = Instant::now();
        let mut police = Police::new(Duration::from_secs(5));
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert!(!police.ping(at(0), false), "the first has none before it");
        assert!(!police.ping(at(1), false));
        assert!(!police.ping(at(2), false));
        assert!(
            !police.ping(at(8), false),
            "late enough: no strike, none forgiven"
        );
        assert!(police.ping(at(9), false));
    }

    #[test]
    fn answers_clear_strikes_and_idle_clients_wait_longer() {
        let start = Instant::now();
        let mut police = Police::new(Duration::from_secs(5));
        for second in 0..100 {
            police.clear_next = true;
            assert!(!police.ping(start + Duration::from_secs(second), true));
        }
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        assert!(!police.ping(at(10), true));
        assert!(!police.ping(at(20), true));
        assert!(police.ping(at(30), true));
    }

    /// Python over a unix socket: the path is the authority, by value first and by its place in the
    /// table from then on.
    #[tokio::test]
    async fn the_library_accepts_a_path_as_authority() {
        use tokio::io::AsyncWriteExt;
        const PATH: &[u8] = b"%2Ftmp%2Fsocket";
        let name = b"\x83\x86\x84\x40\x0a:authority";
        let named = [&name[..], &[PATH.len() as u8], PATH].concat();
        let bytes = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[]),
            frame(HEADERS, 5, 1, &named),
            frame(HEADERS, 5, 3, &[0x83, 0x86, 0x84, 0xbe]),
        ]
        .concat();
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let guarded = Guarded::new(server, bytes::Bytes::new(), IDLE_INTERVAL, Arc::default());
        client.write_all(&bytes).await.expect("room for all");
        let mut connection = h2::server::handshake(guarded).await.expect("a handshake");
        for _ in 0..2 {
            let (request, _) = connection.accept().await.expect("a call").expect("valid");
            let authority = request.uri().authority().expect("an authority");
            assert_eq!(authority.as_str(), "-2Ftmp-2Fsocket");
        }
    }
}
