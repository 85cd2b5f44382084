//! Properties of the renderer for the CLI's stdout: the result does not depend on the chunks; the
//! input bounds the text; the output of format `events` is valid, and its patches hold the replaced
//! text.

use renderer::{EventsOutput, Fact, Rendered, Renderer};

/// The additional text beyond the input: one U+FFFD may replace one byte, and half an emoji may
/// wait for its other half.
const GROWTH: usize = 3;
const SLACK_BYTES: usize = 64;
/// The limit up to which input is pushed byte by byte.
const SINGLE_BYTES: usize = 512;

/// Checks some stdout.
///
/// # Panics
/// If a property does not hold.
pub fn check(bytes: &[u8]) {
    let whole = [bytes];
    // Single bytes only for short input: each push costs time.
    let single: Vec<_> = bytes.chunks(1 + bytes.len() / SINGLE_BYTES).collect();
    let random = cut(bytes);
    for want_text in [true, false] {
        let expected = rendered(want_text, &whole);
        for chunks in [&single, &random] {
            let other = rendered(want_text, chunks);
            assert_eq!(expected.0, other.0, "the text depends on the chunks");
            assert_eq!(expected.1, other.1, "the facts depend on the chunks");
            assert_eq!(expected.2, other.2, "the noise depends on the chunks");
        }
        let (text, facts, noise) = expected;
        assert!(
            want_text || text.is_empty(),
            "text, although no caller wants it"
        );
        assert!(
            text.len() <= GROWTH * bytes.len() + SLACK_BYTES,
            "{} bytes of text from {}",
            text.len(),
            bytes.len()
        );
        assert!(facts.len() <= bytes.len(), "{} facts", facts.len());
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
        assert!(noise <= lines, "{noise} of {lines} lines are noise");
    }
    events(bytes, &whole);
    events(bytes, &single);
    events(bytes, &random);
}

/// Returns chunks whose sizes depend only on the bytes.
fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let mut state = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let (mut rest, mut chunks) = (bytes, Vec::new());
    while !rest.is_empty() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Short and long ones; empty ones too.
        let longest = if state >> 63 == 0 { 8 } else { 400 };
        let length = usize::try_from((state >> 33) % longest).unwrap_or(0);
        let (chunk, behind) = rest.split_at(length.min(rest.len()));
        chunks.push(chunk);
        rest = behind;
    }
    chunks
}

/// Text, facts without noise, and the count of noise lines: chunks group noise in different ways.
fn rendered(want_text: bool, chunks: &[&[u8]]) -> (String, Vec<Fact>, u64) {
    let mut renderer = Renderer::new(want_text);
    let mut out = Rendered::default();
    for chunk in chunks {
        renderer.push(chunk, &mut out);
    }
    renderer.finish(&mut out);
    let mut noise = 0;
    out.facts.retain(|fact| match fact {
        Fact::Noise { lines } => {
            noise += lines;
            false
        }
        _ => true,
    });
    (out.text, out.facts, noise)
}

/// Format `events`.
fn events(bytes: &[u8], chunks: &[&[u8]]) {
    let (mut out, mut patches) = (Vec::new(), Vec::new());
    let mut events = EventsOutput::new();
    for chunk in chunks {
        let before = out.len();
        events.push(chunk, &mut out, &mut patches);
        assert!(
            std::str::from_utf8(&out[before..]).is_ok(),
            "a push that ends inside of a character"
        );
    }
    events.finish(&mut out, &mut patches);
    let text = std::str::from_utf8(&out).expect("the output is valid UTF-8");
    let ended = text.is_empty() || text.ends_with('\n');
    assert!(ended, "the last line has no end");
    let mut lossy = String::from_utf8_lossy(bytes).into_owned();
    if !lossy.is_empty() && !lossy.ends_with('\n') {
        lossy.push('\n');
    }
    assert_eq!(text, lossy);
    let originals: usize = patches.iter().map(|patch| patch.original.len()).sum();
    assert!(originals <= bytes.len(), "{originals} bytes of patches");
    // The product does this in `spool::EventsReader`, from files: too slow for a fuzzer. The
    // spool's tests do the same check through it.
    let (mut original, mut at) = (Vec::new(), 0);
    for patch in &patches {
        let offset = usize::try_from(patch.offset).expect("an offset");
        original.extend_from_slice(&out[at..offset]);
        original.extend_from_slice(&patch.original);
        at = offset + patch.len as usize;
    }
    original.extend_from_slice(&out[at..]);
    assert_eq!(original, bytes, "the patches do not hold what was replaced");
}
