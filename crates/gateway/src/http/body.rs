//! The body of a request, taken out of its framing (RFC 9112 §6.3, §7.1) as the bytes arrive.
//!
//! Chunk extensions and trailers are refused: an extension has no meaning here, and a trailer that was
//! dropped would change the request its sender believes in. Nothing is gathered: what has arrived is
//! handed on. Deadlines are the caller's.

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::framing::Framing;

/// Most hexadecimal digits of a chunk size: what always fits 64 bits.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;

/// Why a body is refused. The connection is of no use after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is, or says it will be, larger than allowed.
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge {
        /// Most bytes allowed.
        bytes_max: u64,
    },
    /// The line before a chunk is not a plain hexadecimal number and CR LF; extensions end here.
    #[error("a chunk size is not a plain hexadecimal number")]
    ChunkSize,
    /// A chunk is not followed by CR LF.
    #[error("a chunk does not end where its size says")]
    ChunkEnd,
    /// Fields after the last chunk.
    #[error("trailer fields are not accepted")]
    Trailers,
    /// The connection ended inside the body.
    #[error("the connection ended inside the body")]
    Truncated,
}

impl BodyError {
    /// The status of the answer, after which the connection is closed.
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::ChunkSize | BodyError::ChunkEnd | BodyError::Trailers | BodyError::Truncated => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

/// What [`BodyDecoder::decode`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// Bytes of the body; never empty.
    Data(Bytes),
    /// More bytes must be read first.
    NeedMore,
    /// The body is complete; what is left in the buffer belongs to the next request.
    Done,
}

/// Takes one body off the front of a connection's buffer.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    bytes_left: u64,
    bytes_max: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Length { left: u64 },
    ChunkSize,
    ChunkData { left: u64 },
    ChunkEnd,
    LastEnd,
    Done,
}

impl BodyDecoder {
    /// A decoder for a body of at most `bytes_max` bytes, framing not counted.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] when the announced length is already larger.
    pub fn new(framing: Framing, bytes_max: u64) -> Result<Self, BodyError> {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) if length > bytes_max => return Err(BodyError::TooLarge { bytes_max }),
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::ChunkSize,
        };
        Ok(BodyDecoder { state, bytes_left: bytes_max, bytes_max })
    }

    /// Takes the next piece off the front of `buffer`.
    ///
    /// # Errors
    /// [`BodyError`] as soon as it shows.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, BodyError> {
        loop {
            match self.state {
                State::Done => return Ok(Decoded::Done),
                State::Length { left } => {
                    let Some(data) = take_up_to(buffer, left) else { return Ok(Decoded::NeedMore) };
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::Done } else { State::Length { left } };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkData { left } => {
                    let Some(data) = take_up_to(buffer, left) else { return Ok(Decoded::NeedMore) };
                    let left = left - data.len() as u64;
                    self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData { left } };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkSize => {
                    let Some(size) = take_chunk_size(buffer)? else { return Ok(Decoded::NeedMore) };
                    self.state = self.begin_chunk(size)?;
                }
                State::ChunkEnd => {
                    if !take_line_end(buffer, BodyError::ChunkEnd)? {
                        return Ok(Decoded::NeedMore);
                    }
                    self.state = State::ChunkSize;
                }
                State::LastEnd => {
                    if !take_line_end(buffer, BodyError::Trailers)? {
                        return Ok(Decoded::NeedMore);
                    }
                    self.state = State::Done;
                }
            }
        }
    }

    /// Whether the whole body has been taken.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// To be asked when the connection ends.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] when it ended inside the body.
    pub fn end(&self) -> Result<(), BodyError> {
        if self.is_done() { Ok(()) } else { Err(BodyError::Truncated) }
    }

    fn begin_chunk(&mut self, size: u64) -> Result<State, BodyError> {
        if size == 0 {
            return Ok(State::LastEnd);
        }
        let too_large = BodyError::TooLarge { bytes_max: self.bytes_max };
        self.bytes_left = self.bytes_left.checked_sub(size).ok_or(too_large)?;
        Ok(State::ChunkData { left: size })
    }
}

fn take_up_to(buffer: &mut BytesMut, left: u64) -> Option<Bytes> {
    let take = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
    (take > 0).then(|| buffer.split_to(take).freeze())
}

/// Takes `1*HEXDIG CR LF`; `None` while it is incomplete.
fn take_chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, BodyError> {
    let digits = buffer.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits > CHUNK_SIZE_DIGITS_MAX {
        return Err(BodyError::ChunkSize);
    }
    match &buffer[digits..] {
        [] | [b'\r'] if digits > 0 || buffer.is_empty() => Ok(None),
        [b'\r', b'\n', ..] if digits > 0 => {
            let line = buffer.split_to(digits + 2);
            let text = std::str::from_utf8(&line[..digits]).map_err(|_| BodyError::ChunkSize)?;
            u64::from_str_radix(text, 16).map(Some).map_err(|_| BodyError::ChunkSize)
        }
        _ => Err(BodyError::ChunkSize),
    }
}

/// Takes CR LF; false while it is incomplete.
fn take_line_end(buffer: &mut BytesMut, otherwise: BodyError) -> Result<bool, BodyError> {
    match &buffer[..] {
        [] | [b'\r'] => Ok(false),
        [b'\r', b'\n', ..] => {
            let _line_end = buffer.split_to(2);
            Ok(true)
        }
        _ => Err(otherwise),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    /// Decodes `parts` as they would arrive; gives the body and what is left for the next request.
    fn decode(framing: Framing, bytes_max: u64, parts: &[&[u8]]) -> Result<(Vec<u8>, Vec<u8>), BodyError> {
        let mut decoder = BodyDecoder::new(framing, bytes_max)?;
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        for part in parts {
            buffer.extend_from_slice(part);
            while let Decoded::Data(data) = decoder.decode(&mut buffer)? {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
        }
        decoder.end().map(|()| (body, buffer.to_vec()))
    }

    fn chunked(text: &str) -> Result<(Vec<u8>, Vec<u8>), BodyError> {
        decode(Framing::Chunked, 1000, &[text.as_bytes()])
    }

    // case: HTTP-04
    #[test]
    fn a_chunk_size_is_a_plain_number_and_cr_lf() {
        for text in [
            "5;\nhello",
            "5;\0ext\r\nhello\r\n0\r\n\r\n",
            "5;\r\nhello\r\n",
            "5;a=b\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "+5\r\nhello\r\n",
            "-5\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5_0\r\nhello\r\n",
            "\r\nhello",
            "\n",
            "5\nhello",
            "5\rhello",
            "00000000000000005\r\nhello\r\n",
            "fffffffffffffffff\r\n",
            "g\r\n",
            "5\r\r\nhello",
        ] {
            assert_eq!(chunked(text), Err(BodyError::ChunkSize), "{text:?}");
        }
        for text in ["5\r\nhello\n0\r\n\r\n", "5\r\nhellooo\r\n", "5\r\nhello\rx", "5\r\nhello0\r\n\r\n"] {
            assert_eq!(chunked(text), Err(BodyError::ChunkEnd), "{text:?}");
        }
        for text in ["0\r\nx: y\r\n\r\n", "0\r\n\n", "0\r\n\rx"] {
            assert_eq!(chunked(text), Err(BodyError::Trailers), "{text:?}");
        }
        for text in ["", "5", "5\r", "5\r\nhel", "5\r\nhello", "5\r\nhello\r\n", "0\r\n", "0\r\n\r"] {
            assert_eq!(chunked(text), Err(BodyError::Truncated), "{text:?}");
        }
    }

    // case: HTTP-09
    #[test]
    fn what_follows_the_body_is_left_for_the_next_request() {
        let left = |body: &str, rest: &str| Ok((body.as_bytes().to_vec(), rest.as_bytes().to_vec()));
        assert_eq!(
            chunked("5\r\nhello\r\nA\r\n0123456789\r\n000\r\n\r\nGET /"),
            left("hello0123456789", "GET /")
        );
        assert_eq!(decode(Framing::Length(5), 5, &[b"helloGET /"]), left("hello", "GET /"));
        assert_eq!(decode(Framing::None, 5, &[b"GET /"]), left("", "GET /"));
        assert_eq!(decode(Framing::Length(0), 5, &[b"GET /"]), left("", "GET /"));
        assert_eq!(decode(Framing::Length(6), 6, &[b"hello"]), Err(BodyError::Truncated));
    }

    #[test]
    fn the_bound_is_kept_to_the_byte() {
        let over = Err(BodyError::TooLarge { bytes_max: 9 });
        assert_eq!(decode(Framing::Length(10), 9, &[]), over);
        assert_eq!(decode(Framing::Chunked, 9, &[b"5\r\nhello\r\n5\r\n"]), over);
        assert_eq!(decode(Framing::Chunked, 9, &[b"ffffffffffffffff\r\n"]), over);
        assert!(decode(Framing::Chunked, 10, &[b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"]).is_ok());
        assert!(decode(Framing::Length(10), 10, &[b"helloworld"]).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn how_the_bytes_arrive_makes_no_difference(
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..80),
                "([0-9a-f]{1,2}\r\n[a-z]{0,20}\r\n){0,4}0\r\n\r\n[A-Z]{0,5}".prop_map(String::into_bytes),
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..5).prop_map(|chunks| {
                    let mut wire = Vec::new();
                    for chunk in chunks {
                        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                        wire.extend_from_slice(&chunk);
                        wire.extend_from_slice(b"\r\n");
                    }
                    wire.extend_from_slice(b"0\r\n\r\nrest");
                    wire
                }),
            ],
            length in prop_oneof![Just(None), (0u64..60).prop_map(Some)],
            cuts in proptest::collection::vec(0usize..100, 0..8),
        ) {
            let framing = length.map_or(Framing::Chunked, Framing::Length);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            let single: Vec<&[u8]> = body.chunks(1).collect();
            let whole = decode(framing, 50, &[&body]);
            prop_assert_eq!(&decode(framing, 50, &parts), &whole);
            prop_assert_eq!(&decode(framing, 50, &single), &whole);
        }
    }
}
