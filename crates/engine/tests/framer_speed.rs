//! How fast the framers find messages in memory. Measures, and asserts nothing:
//! `cargo test --release -p jackfield-engine --test framer_speed -- --ignored --nocapture`

mod framing_driver;

use framing_driver::frame;
use jackfield_engine::frame::{Framer, Step};
use std::hint::black_box;
use std::time::Instant;

/// Messages in the 64 KiB that a link typically parses at once, over and over.
fn messages_per_second(framing: &str, payload: &[u8]) -> f64 {
    let framer = Framer::parse(framing, 16 << 20).expect("a framing");
    framer.check(payload).expect("a sendable payload");
    let one = frame(&framer, payload);
    let stream = one.repeat((64 << 10) / one.len());
    let turn = || {
        let (mut rest, mut scan, mut messages, mut bytes) = (black_box(stream.as_slice()), 0, 0u64, 0);
        while let Step::Message { start, end, consumed } = framer.next(&mut scan, rest) {
            messages += 1;
            bytes += end - start;
            rest = &rest[consumed..];
        }
        black_box(bytes);
        messages
    };
    let mut rates: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            let messages: u64 = (0..1000).map(|_| turn()).sum();
            messages as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[2]
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let framings = [
        "u8",
        "u16",
        "u32",
        "u32le",
        "u64",
        "varint",
        "netstring",
        "line",
        "line:crlf",
        "delimiter:|",
        "delimiter:0x0d0a",
        "delimiter:END",
    ];
    for size in [8, 64, 250] {
        let payload = vec![b'x'; size];
        for framing in framings {
            let rate = messages_per_second(framing, &payload);
            println!("{framing:>20} {size:>4} B  {:7.1} M messages/s", rate / 1e6);
        }
    }
}
