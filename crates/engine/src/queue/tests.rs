//! The queue against examples, and against a model of it.

use super::*;
use proptest::prelude::*;

type Queue = OutQueue<Vec<u8>>;

fn waiting(queue: &Queue) -> Vec<u8> {
    queue.chunks.iter().flat_map(Chunk::bytes).copied().collect()
}

#[test]
fn messages_become_whole_as_their_bytes_leave() {
    let mut queue = Queue::default();
    queue.push([b"2", b"ab", b""]);
    queue.push_loan(b"3", b"cde".to_vec(), b";");
    assert_eq!((queue.bytes(), queue.messages()), (8, 2));
    assert_eq!(queue.advance(2), 0);
    assert!(queue.is_begun());
    assert_eq!(queue.advance(1), 1);
    assert!(!queue.is_begun());
    assert_eq!(waiting(&queue), b"3cde;");
    assert_eq!(queue.advance(5), 1);
    assert!(queue.is_empty());
}

#[test]
fn dropping_keeps_a_begun_message_whole() {
    let mut queue = Queue::default();
    for payload in [b"aaaa", b"bbbb", b"cccc"] {
        queue.push([b"", payload, b""]);
    }
    queue.advance(1);
    assert!(queue.drop_oldest());
    assert_eq!(waiting(&queue), b"aaacccc");
    assert!(queue.drop_oldest());
    assert_eq!(waiting(&queue), b"aaa");
    assert!(!queue.drop_oldest());
    assert_eq!(queue.advance(3), 1);
}

#[test]
fn empty_messages_are_messages() {
    let mut queue = Queue::default();
    queue.push([b"", b"", b""]);
    assert_eq!((queue.bytes(), queue.messages()), (0, 1));
    queue.pop_message();
    assert!(queue.is_empty());
}

#[test]
fn clear_tells_unsent_from_cut() {
    let mut queue = Queue::default();
    queue.push([b"", b"abc", b""]);
    queue.push([b"", b"def", b""]);
    queue.advance(1);
    assert_eq!(queue.clear(), (1, true));
    assert_eq!(queue.bytes(), 0);
}

#[test]
fn what_goes_with_a_message_leaves_with_its_first_byte() {
    let mut queue = Queue::default();
    queue.push([b"", b"before", b""]);
    queue.push([b"", b"with", b""]);
    queue.attach(Attachment::Urgent);
    queue.push([b"", b"after", b""]);
    assert!(queue.first_attachment().is_none());
    assert_eq!(queue.departing(), 6);
    queue.advance(2);
    assert_eq!(queue.departing(), 4);
    queue.advance(4);
    assert!(queue.first_attachment().is_some());
    assert_eq!(queue.departing(), 4);
    queue.attachment_sent();
    queue.advance(1);
    assert!(queue.first_attachment().is_none());
    assert_eq!(queue.departing(), usize::MAX);
    assert_eq!(waiting(&queue), b"ithafter");
}

#[test]
fn what_goes_with_a_dropped_message_is_dropped() {
    let mut queue = Queue::default();
    for payload in [b"aaaa", b"bbbb", b"cccc", b"dddd"] {
        queue.push([b"", payload, b""]);
        queue.attach(Attachment::Descriptors(Vec::new()));
    }
    queue.attachment_sent();
    queue.advance(1);
    assert!(queue.drop_oldest());
    assert_eq!(waiting(&queue), b"aaaccccdddd");
    assert_eq!(queue.departing(), 3);
    queue.advance(3);
    assert!(queue.first_attachment().is_some());
    queue.pop_message();
    assert!(queue.first_attachment().is_some());
    assert!(queue.drop_oldest());
    assert!(!queue.has_attachments());
}

#[test]
fn what_is_not_admitted_is_not_taken() {
    let mut queue = Queue::default();
    let all = [&b"ab"[..], b"", b"cde", b"toolong", b"f"];
    let mut messages = all.into_iter().peekable();
    assert_eq!(queue.push_while(&mut messages, |size, bytes, _| size < 5 && bytes < 100), 3);
    assert_eq!((queue.bytes(), queue.messages()), (5, 3));
    assert_eq!(waiting(&queue), b"abcde");
    assert_eq!(messages.next(), Some(&b"toolong"[..]));
    assert_eq!(queue.push_while(&mut messages, |_, bytes, _| bytes < 5), 0, "full");
    assert_eq!(queue.push_while(&mut messages, |_, _, count| count < 4), 1);
    assert_eq!(queue.sizes().collect::<Vec<_>>(), [2, 0, 3, 1]);
}

#[derive(Debug, Clone)]
enum Step {
    Push(u8),
    /// Several, up to so many that wait.
    PushWhile(u8, u8),
    Loan(u8),
    Burst(u8, u8),
    Advance(u8),
    DropOldest,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::Push),
        (0..9u8, any::<u8>()).prop_map(|(count, most)| Step::PushWhile(count, most)),
        any::<u8>().prop_map(Step::Loan),
        (0..5u8, 0..9u8).prop_map(|(count, size)| Step::Burst(count, size)),
        any::<u8>().prop_map(Step::Advance),
        Just(Step::DropOldest),
    ]
}

proptest! {
    /// The queue against the plainest model: a list of messages and a count of bytes gone.
    #[test]
    fn behaves_like_a_list_of_messages(steps in prop::collection::vec(step(), 0..60)) {
        let mut queue = Queue::default();
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        let mut begun = 0;
        let mut next = 0u8;
        for step in steps {
            match step {
                Step::Push(size) => {
                    next = next.wrapping_add(1);
                    let message = vec![next; size as usize + 1];
                    queue.push([&message[..1], &message[1..], b""]);
                    model.push_back(message);
                }
                Step::PushWhile(count, most) => {
                    // Sizes up to a third of a buffer, so that they do not fill it evenly.
                    let all: Vec<_> = (1..=count).map(|n| vec![n; n as usize * 2500 + 1]).collect();
                    let free = (most as usize).saturating_sub(queue.messages());
                    let mut messages = all.iter().map(Vec::as_slice).peekable();
                    let taken = queue.push_while(&mut messages, |_, _, waiting| waiting < most as usize);
                    prop_assert_eq!(taken, all.len().min(free));
                    model.extend(all.into_iter().take(taken));
                }
                Step::Loan(size) => {
                    next = next.wrapping_add(1);
                    let message = vec![next; size as usize + 1];
                    queue.push_loan(&message[..1], message[1..].to_vec(), b"");
                    model.push_back(message);
                }
                Step::Burst(count, size) => {
                    next = next.wrapping_add(1);
                    let message = vec![next; size as usize + 1];
                    let burst = Burst {
                        data: message.repeat(count as usize).into(),
                        sizes: vec![u32::from(size) + 1; count as usize].into(),
                    };
                    queue.push_burst(&Rc::new(burst));
                    model.extend((0..count).map(|_| message.clone()));
                }
                Step::Advance(count) => {
                    let count = (count as usize).min(queue.bytes());
                    let mut whole = 0;
                    begun += count;
                    while model.front().is_some_and(|message| begun >= message.len()) {
                        begun -= model.pop_front().unwrap().len();
                        whole += 1;
                    }
                    prop_assert_eq!(queue.advance(count), whole);
                }
                Step::DropOldest => {
                    let first = usize::from(begun > 0);
                    let some = model.len() > first;
                    if some {
                        model.remove(first);
                    }
                    prop_assert_eq!(queue.drop_oldest(), some);
                }
            }
            let expected: Vec<u8> = model.iter().flatten().copied().skip(begun).collect();
            prop_assert_eq!(waiting(&queue), expected.clone());
            prop_assert_eq!((queue.bytes(), queue.messages()), (expected.len(), model.len()));
        }
    }
}
