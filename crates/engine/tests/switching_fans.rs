//! Fans: one delivery to many, publishing, who falls behind, and who comes back.

mod native_peer;
mod stepper;

use jackfield_engine::native::frame::{Code, Kind, MORE, SHARED, Violation};
use jackfield_engine::native::streams::FANS;
use jackfield_engine::native::{FanOptions, Recognition, SwitchError, Whom};
use jackfield_engine::*;
use native_peer::*;
use stepper::*;

const QUIET: FanOptions =
    FanOptions { stream: FANS, publish: false, disconnect: false, recent: 0, longest: 0, sequence: 0 };
const PUBLISHES: FanOptions = FanOptions { publish: true, ..QUIET };

fn delivery(source: u32, sequence: u64, text: &[u8]) -> Got {
    let payload = [&source.to_be_bytes()[..], &sequence.to_be_bytes(), text].concat();
    Got { stream: FANS, kind: Kind::Data, flags: SHARED, payload }
}

fn published(sequence: u64, text: &[u8]) -> Vec<u8> {
    frame(FANS, Kind::Data, &[&sequence.to_be_bytes()[..], text].concat())
}

#[test]
fn what_a_member_publishes_goes_to_all_with_its_source_and_the_next_sequence() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let fan = exchange.stepper.reactor.fan_open(exchange.group, PUBLISHES).expect("a fan");
    let mut clients = [exchange.client(), exchange.client(), exchange.client()];
    for (source, client) in clients.iter().enumerate() {
        let added = exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 10 + source as u32);
        assert_eq!(added, Ok(()));
    }
    clients[1].write(&[published(1, b"one"), published(2, b"two")].concat());
    for client in &mut clients {
        assert_eq!(client.read(&mut exchange), delivery(11, 1, b"\0\0\0\0\0\0\0\x01one"));
        assert_eq!(client.read(&mut exchange), delivery(11, 2, b"\0\0\0\0\0\0\0\x02two"));
    }
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"from the hub", 0, None), Ok(3));
    assert_eq!(clients[0].read(&mut exchange), delivery(0, 3, b"from the hub"));
    let facts = exchange.stepper.reactor.fan_facts(fan);
    assert_eq!((facts.members, facts.sent, facts.delivered, facts.dropped), (3, 3, 9, 0));
    exchange.end();
}

#[test]
fn credit_for_publishing_comes_again_and_is_a_limit() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let fan = exchange.stepper.reactor.fan_open(exchange.group, PUBLISHES).expect("a fan");
    let mut client = exchange.client();
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1), Ok(()));
    for number in 0..2 {
        client.write(&published(number, &[b'x'; 50_000]));
        assert_eq!(client.read(&mut exchange).payload.len(), 12 + 8 + 50_000);
    }
    client.write(&published(2, &[b'x'; 50_000]));
    let used: u32 = 3 * (50_008 + 16);
    assert_eq!(client.read(&mut exchange), got(FANS, Kind::Credit, &used.to_be_bytes()));
    assert_eq!(client.read(&mut exchange).payload.len(), 12 + 8 + 50_000);
    for (wrong, code) in [
        (flagged(FANS, Kind::Data, MORE, &[0; 20]), Code::StreamState),
        (frame(FANS, Kind::Data, b"short"), Code::StreamState),
    ] {
        client.write(&wrong);
        assert_eq!(client.read(&mut exchange), got(FANS, Kind::Reset, &code.payload()));
        assert_eq!(exchange.stepper.reactor.fan_facts(fan).members, 0);
        client.write(&published(9, b"it is no member any more"));
        client.hears_nothing(&mut exchange);
        assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1), Ok(()));
    }
    exchange.end();
}

#[test]
fn without_publishing_their_data_reaches_the_owner() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let fan = exchange.stepper.reactor.fan_open(exchange.group, QUIET).expect("a fan");
    let mut client = exchange.client();
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1), Ok(()));
    client.write(&published(1, b"for the store"));
    let told = exchange.told();
    assert_eq!(told, Told::Message(client.id, published(1, b"for the store")[4..].to_vec()));
    exchange.send(&client, FANS, Kind::Data, b"stored");
    assert_eq!(client.read(&mut exchange), got(FANS, Kind::Data, b"stored"));
    exchange.end();
}

#[test]
fn who_owns_a_fan_that_publishes_can_have_the_last_messages_and_all_that_is_unusual() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let options = FanOptions { recent: 3, longest: 10, sequence: 40, ..PUBLISHES };
    let fan = exchange.stepper.reactor.fan_open(exchange.group, options).expect("a fan");
    let mut client = exchange.client();
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 5), Ok(()));
    for number in 1..5 {
        client.write(&published(number, b"text"));
        let label = [&number.to_be_bytes()[..], b"text"].concat();
        assert_eq!(client.read(&mut exchange), delivery(5, 40 + number, &label));
    }
    let kept = |exchange: &mut Exchange, after| {
        let found = exchange.stepper.reactor.fan_recent(fan, after);
        found.map(|message| (message.source, message.sequence, message.payload.len())).collect::<Vec<_>>()
    };
    assert_eq!(kept(&mut exchange, 0), [(5, 42, 12), (5, 43, 12), (5, 44, 12)]);
    assert_eq!(kept(&mut exchange, 43), [(5, 44, 12)]);
    for unusual in [
        frame(FANS, Kind::Data, b"short"),
        published(0, b"no number"),
        published(1 << 63, b"no number"),
        published(5, b"eleven long"),
        flagged(FANS, Kind::Data, MORE, &[1; 12]),
    ] {
        client.write(&unusual);
        assert_eq!(exchange.told(), Told::Message(client.id, unusual[4..].to_vec()));
    }
    client.write(&published(5, b"ten, so so"));
    assert_eq!(client.read(&mut exchange).payload.len(), 12 + 8 + 10);
    exchange.end();
}

#[test]
fn what_members_publish_can_go_to_the_owner_for_a_while_and_credit_is_granted_all_the_same() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let fan = exchange.stepper.reactor.fan_open(exchange.group, PUBLISHES).expect("a fan");
    let mut client = exchange.client();
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1), Ok(()));
    exchange.stepper.reactor.fan_publish(fan, false);
    for number in 1..4 {
        let message = published(number, &[b'x'; 50_000]);
        client.write(&message);
        assert_eq!(exchange.told(), Told::Message(client.id, message[4..].to_vec()));
    }
    let used: u32 = 3 * (50_008 + 16);
    assert_eq!(client.read(&mut exchange), got(FANS, Kind::Credit, &used.to_be_bytes()));
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"from the owner", 1, None), Ok(1));
    assert_eq!(client.read(&mut exchange), delivery(1, 1, b"from the owner"));
    exchange.stepper.reactor.fan_publish(fan, true);
    client.write(&published(4, b"again"));
    assert_eq!(client.read(&mut exchange), delivery(1, 2, b"\0\0\0\0\0\0\0\x04again"));
    exchange.end();
}

/// Sends until the kernel and the queue of a client that does not read are full; gives the first sequence that did not fit.
fn fill(exchange: &mut Exchange, fan: u32, client: &Client) -> u64 {
    for sequence in 1..10_000 {
        assert_eq!(exchange.stepper.reactor.fan_send(fan, &[b'x'; 4096], 0, Some(sequence)), Ok(sequence));
        exchange.stepper.turn(0);
        match told(&mut exchange.stepper.reactor, exchange.group) {
            None => {}
            Some(Told::FellBehind(id, FANS, first)) if id == client.id => return first,
            other => panic!("{other:?}"),
        }
    }
    panic!("it never fell behind")
}

#[test]
fn who_falls_behind_is_told_and_left_out_until_it_is_added_again() {
    let mut exchange = Exchange::with(Recognition::Auto, "line", 16 * 1024, Stepper::new());
    let fan = exchange.stepper.reactor.fan_open(exchange.group, QUIET).expect("a fan");
    let mut slow = exchange.client();
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(slow.id), 1), Ok(()));
    let first = fill(&mut exchange, fan, &slow);
    for sequence in first + 1..first + 4 {
        assert_eq!(exchange.stepper.reactor.fan_send(fan, b"missed", 0, Some(sequence)), Ok(sequence));
        exchange.stepper.settle();
    }
    assert_eq!(told(&mut exchange.stepper.reactor, exchange.group), None, "told once");
    assert_eq!(exchange.stepper.reactor.fan_facts(fan).behind, 1);
    for sequence in 1..first {
        assert_eq!(slow.read(&mut exchange), delivery(0, sequence, &[b'x'; 4096]));
    }
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(slow.id), 1), Ok(()));
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"again", 0, Some(900_000)), Ok(900_000));
    assert_eq!(slow.read(&mut exchange), delivery(0, 900_000, b"again"));
    exchange.end();
}

#[test]
fn a_fan_that_publishes_goes_on_behind_a_gap() {
    let mut exchange = Exchange::with(Recognition::Auto, "line", 16 * 1024, Stepper::new());
    let fan = exchange.stepper.reactor.fan_open(exchange.group, PUBLISHES).expect("a fan");
    let mut slow = exchange.client();
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(slow.id), 1), Ok(()));
    let mut sent = 0;
    while exchange.stepper.reactor.fan_facts(fan).dropped == 0 {
        sent = exchange.stepper.reactor.fan_send(fan, &[b'x'; 4096], 0, None).expect("it is sent");
        exchange.stepper.turn(0);
    }
    assert_eq!(told(&mut exchange.stepper.reactor, exchange.group), None);
    for sequence in 1..sent {
        assert_eq!(slow.read(&mut exchange), delivery(0, sequence, &[b'x'; 4096]));
    }
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"behind the gap", 0, None), Ok(sent + 1));
    assert_eq!(slow.read(&mut exchange), delivery(0, sent + 1, b"behind the gap"));
    exchange.end();
}

#[test]
fn a_fan_can_disconnect_who_does_not_keep_up() {
    let mut exchange = Exchange::with(Recognition::Auto, "line", 16 * 1024, Stepper::new());
    let options = FanOptions { disconnect: true, ..QUIET };
    let fan = exchange.stepper.reactor.fan_open(exchange.group, options).expect("a fan");
    let (slow, mut quick) = (exchange.client(), exchange.client());
    for client in [&slow, &quick] {
        assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1), Ok(()));
    }
    for sequence in 1.. {
        assert_eq!(exchange.stepper.reactor.fan_send(fan, &[b'x'; 4096], 0, None), Ok(sequence));
        assert_eq!(quick.read(&mut exchange), delivery(0, sequence, &[b'x'; 4096]));
        match told(&mut exchange.stepper.reactor, exchange.group) {
            None => {}
            Some(left) => {
                assert_eq!(left, Told::Left(slow.id, Some(Fault::Violation(Violation::Overloaded))));
                break;
            }
        }
    }
    assert_eq!(exchange.stepper.reactor.fan_members(fan), [(quick.id, 1)]);
    exchange.end();
}

#[test]
fn members_come_and_go_and_the_rest_stays() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let fan = exchange.stepper.reactor.fan_open(exchange.group, QUIET).expect("a fan");
    let mut clients: Vec<Client> = (0..4).map(|_| exchange.client()).collect();
    for client in &clients {
        assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1), Ok(()));
    }
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"all", 0, None), Ok(1));
    assert_eq!(exchange.stepper.reactor.fan_remove(fan, Whom::Member(clients[0].id)), Ok(true));
    assert_eq!(exchange.stepper.reactor.fan_remove(fan, Whom::Member(clients[0].id)), Ok(false));
    exchange.stepper.reactor.abort(clients[2].id);
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"two", 0, None), Ok(2));
    for index in [0, 1, 3] {
        assert_eq!(clients[index].read(&mut exchange), delivery(0, 1, b"all"));
    }
    for index in [1, 3] {
        assert_eq!(clients[index].read(&mut exchange), delivery(0, 2, b"two"));
    }
    clients[0].hears_nothing(&mut exchange);
    let again = exchange.stepper.reactor.fan_open(exchange.group, QUIET);
    assert!(matches!(again, Err(SwitchError::Refused(_))), "the number is taken");
    exchange.stepper.reactor.fan_close(fan);
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(clients[0].id), 1), Err(SwitchError::Gone));
    exchange.end();
}

#[test]
fn who_comes_back_is_told_what_it_missed() {
    let mut exchange = Exchange::new(Recognition::Auto);
    let fan = exchange.stepper.reactor.fan_open(exchange.group, QUIET).expect("a fan");
    let client = exchange.client();
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(client.id), 1), Ok(()));
    let session = exchange.stepper.reactor.hold(client.id).expect("a session");
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"missed", 0, Some(41)), Ok(41));
    exchange.stepper.settle();
    let mut fresh = exchange.greet();
    assert_eq!(exchange.stepper.reactor.resume(fresh.id, session, 0), Ok(0));
    exchange.send(&fresh, 0, Kind::Control, WELCOME);
    assert_eq!(exchange.told(), Told::FellBehind(fresh.id, FANS, 41));
    assert_eq!(exchange.stepper.reactor.fan_add(fan, Whom::Member(fresh.id), 1), Ok(()));
    fresh.magic(&mut exchange);
    assert_eq!(fresh.read(&mut exchange), got(0, Kind::Control, WELCOME));
    assert_eq!(exchange.stepper.reactor.fan_send(fan, b"new", 0, Some(42)), Ok(42));
    assert_eq!(fresh.read(&mut exchange), delivery(0, 42, b"new"));
    exchange.end();
}
