//! The fuzz targets' bodies for some seconds on the stable toolchain, and every regression input.
//!
//! `JACKFIELD_FUZZ_SECONDS` is the time for each target (default 2), `JACKFIELD_FUZZ_SEED` repeats
//! a run, `JACKFIELD_FUZZ_INPUT` an input. An input that fails is printed; keep it, named after the bug, in
//! `crates/engine/fuzz/regressions/<target>/`.

mod fuzz_bodies;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What generated inputs are made of, beside random bytes: the framings' own vocabulary.
const WORDS: [&[u8]; 40] = [
    b"\n",
    b"\r",
    b"\r\n",
    b"END",
    b"EN",
    b"ab",
    b"abab",
    b"|",
    b":",
    b",",
    b"0",
    b"5:hello,",
    b"0:,",
    b"\0\0\0\x05",
    b"\x05\0\0\0",
    b"\0\x05",
    b"\xff\xff\xff\xff",
    b"\x80",
    b"\x80\x01",
    b"\0",
    b"hello",
    b"delimiter:",
    b"0x0d0a",
    b"%0d",
    b"fixed:",
    b"length:",
    b"offset=",
    b"size=2",
    b"order=le",
    b"adjust=-",
    b"u16",
    b"le",
    b"\xc0",
    b"\xdb\xdc",
    b"\xdb",
    b"\x01",
    b"\xff",
    b"cobs",
    b":strict",
    b"gap:1.5ms",
];

#[test]
fn framers() {
    run("framers", fuzz_bodies::framers, Random::words);
}

#[test]
fn framing_text() {
    run("framing_text", fuzz_bodies::framing_text, Random::words);
}

#[test]
fn link_operations() {
    run("link_operations", fuzz_bodies::link_operations, Random::bytes);
}

#[test]
fn tls_sessions() {
    run("tls_sessions", fuzz_bodies::tls_sessions, Random::bytes);
}

fn run(target: &str, body: fn(&[u8]), generate: fn(&mut Random) -> Vec<u8>) {
    if let Ok(hex) = std::env::var("JACKFIELD_FUZZ_INPUT") {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        return body(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>());
    }
    let regressions = regressions(target);
    for (name, input) in &regressions {
        attempt(name, body, input);
    }
    let seconds = variable("JACKFIELD_FUZZ_SECONDS").unwrap_or(2.0);
    let seed = variable("JACKFIELD_FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64
    });
    eprintln!("{target}: JACKFIELD_FUZZ_SEED={seed}");
    let mut random = Random(seed);
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut inputs = 0u64;
    while Instant::now() < end {
        let known = random.below(regressions.len() * 4 + 1);
        let input = match regressions.get(known) {
            Some((_, input)) => random.mutated(input),
            None => generate(&mut random),
        };
        attempt("generated", body, &input);
        inputs += 1;
    }
    eprintln!("{target}: {inputs} inputs in {seconds} s, {} regressions", regressions.len());
    assert!(inputs > 0 || seconds == 0.0);
}

fn attempt(name: &str, body: fn(&[u8]), input: &[u8]) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| body(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("failed on the {name} input {hex}");
        resume_unwind(cause);
    }
}

/// The inputs that once failed or show a corner, by name. There is at least one for each target.
fn regressions(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder: PathBuf = [env!("CARGO_MANIFEST_DIR"), "fuzz", "regressions", target].iter().collect();
    let entries = std::fs::read_dir(&folder).expect("the target has regression inputs");
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read"))
        .map(|entry| {
            let input = std::fs::read(entry.path()).expect("the input can be read");
            (entry.file_name().to_string_lossy().into_owned(), input)
        })
        .collect();
    assert!(!inputs.is_empty());
    inputs.sort();
    inputs
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// SplitMix64: enough for choosing inputs, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn piece(&mut self) -> Vec<u8> {
        match self.below(4) {
            0 => (0..self.below(6)).map(|_| self.next() as u8).collect(),
            _ => WORDS[self.below(WORDS.len())].to_vec(),
        }
    }

    /// Three bytes that choose, for targets whose input begins so, and some pieces.
    fn words(&mut self) -> Vec<u8> {
        let mut input: Vec<u8> = match self.below(2) {
            0 => (0..3).map(|_| self.next() as u8).collect(),
            _ => Vec::new(),
        };
        for _ in 0..self.below(12) {
            input.extend(self.piece());
        }
        input
    }

    /// Bytes that each choose something.
    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(400)).map(|_| self.next() as u8).collect()
    }

    fn mutated(&mut self, known: &[u8]) -> Vec<u8> {
        let mut input = known.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(input.len() + 1);
            match self.below(3) {
                0 => drop(input.splice(at..at, self.piece())),
                1 if at < input.len() => input[at] = self.next() as u8,
                _ => input.truncate(at),
            }
        }
        input
    }
}
