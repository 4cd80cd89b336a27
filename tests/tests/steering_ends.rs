//! How connections end, as the kernel programs tell it: in the records of connections, each once, none forgotten.

use std::net::Shutdown;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use herald_tests::client::{Client, Settings};
use herald_tests::gate;
use herald_tests::steering::{Scene, connect, may};
use herald_tests::wait;
use proxy_common::Counter;
use socket2::SockRef;

/// Records of connections carry what the kernel knew at the end, and Herald's own count of the bytes on the wire is the
/// kernel's, but for SYN and FIN. Half of the clients close first, half wait for Herald; none leaves before it has read
/// everything, so nothing that Herald sent goes unacknowledged.
#[test]
fn the_kernel_tells_of_each_connection_that_ends() {
    if !may("the_kernel_tells_of_each_connection_that_ends") {
        return;
    }
    let count = match gate::long("the_kernel_tells_of_each_connection_that_ends: 10,000 of them") {
        true => 10_000,
        false => 400,
    };
    // The kernel's part in TLS would send bytes that Herald does not count.
    let scene = Scene::new(2, &["--ktls=off"]);
    let address = scene.herald.address();
    let config = Settings::default().build();
    let clients = (0..CLIENTS).map(|client| {
        let config = Arc::clone(&config);
        thread::spawn(move || {
            for number in (client..count).step_by(CLIENTS) {
                let mut client = Client::connect(address, &config).unwrap();
                let body = vec![b'x'; number % 5000];
                let length = body.len();
                let close = if number % 2 == 0 { "close" } else { "keep-alive" };
                let head = format!(
                    "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: {close}\r\nContent-Length: {length}\r\n\r\n"
                );
                let answer = client.ask(&[head.as_bytes(), &body].concat()).unwrap();
                assert_eq!(answer.status, 200);
                if number % 2 != 0 {
                    client.half_close().unwrap();
                    client.stream().sock.shutdown(Shutdown::Write).unwrap();
                }
                assert_eq!(client.rest().unwrap(), b"");
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    let records = scene.folder.connections(count);
    assert_eq!(scene.decided(Counter::CloseEvent), count as u64);
    assert_eq!(scene.decided(Counter::CloseEventDropped), 0);
    assert_eq!(scene.ends("joined"), count as u64);
    assert_eq!((scene.ends("missed"), scene.ends("unclaimed")), (0, 0));
    for record in &records {
        let number = |field: &str| record[field].as_u64();
        assert!(
            number("tcp_in") > Some(300) && number("tcp_out") > Some(500),
            "{record}"
        );
        assert_eq!(number("tcp_in"), number("wire_in"), "{record}");
        assert_eq!(number("tcp_out"), number("wire_out"), "{record}");
        assert!(
            record["retransmits"].is_u64() && record["rtt_seconds"].is_f64(),
            "{record}"
        );
        let seconds = |field: &str| record[field].as_f64().unwrap();
        assert!(
            seconds("tcp_seconds") > seconds("handshake_seconds") / 2.0,
            "{record}"
        );
    }
    println!("{count} connections, {count} ends told, no byte apart");
}

/// A client that goes without a word (RST), one that fails the handshake, one that is refused its place: each leaves a
/// record, once, and nothing is waited for at the end.
#[test]
fn an_end_that_is_no_clean_one_is_told_as_well() {
    if !may("an_end_that_is_no_clean_one_is_told_as_well") {
        return;
    }
    let mut scene = Scene::new(1, &["--drain-idle-timeout=100ms"]);
    let address = scene.herald.address();
    let config = Settings::default().build();
    for _ in 0..20 {
        let mut client = Client::connect(address, &config).unwrap();
        client.get("/").unwrap();
        // Unread bytes of Herald's close_notify come back as RST.
        drop(client);
        drop(connect(address, None).unwrap());
    }
    let open = Client::connect(address, &config).unwrap();
    wait::until("the end of all but one", || {
        (scene.open() == [1]).then_some(())
    });
    assert_eq!(
        scene.herald.terminate().code(),
        Some(0),
        "{}",
        scene.herald.log()
    );
    drop(open);
    let records = scene.folder.connections(41);
    let told = records.iter().filter(|record| record["tcp_in"].is_u64());
    assert!(told.clone().count() >= 40, "{records:#?}");
    for record in told {
        let number = |field: &str| record[field].as_u64();
        assert!(number("tcp_out") <= number("wire_out"), "{record}");
        assert!(number("tcp_in") >= number("wire_in"), "{record}");
    }
}

/// Nobody reads while Herald is stopped, and the ring has no place for all of the ends: those that it had no place for are
/// counted, and their connections have their records all the same.
#[test]
fn ends_that_find_no_place_are_counted() {
    if !may("ends_that_find_no_place_are_counted") {
        return;
    }
    let mut scene = Scene::new(2, &[]);
    let address = scene.herald.address();
    let connections: Vec<_> = (0..MANY).map(|_| connect(address, None).unwrap()).collect();
    wait::until("all to be accepted", || {
        (scene.open().iter().sum::<u64>() == MANY).then_some(())
    });
    scene.herald.pause();
    for connection in connections {
        // RST: the connection is over at once.
        let reset = Some(Duration::ZERO);
        SockRef::from(&connection).set_linger(reset).unwrap();
    }
    scene.herald.resume();
    let records = scene.folder.connections(usize::try_from(MANY).unwrap());
    let told = scene.decided(Counter::CloseEvent);
    let dropped = scene.decided(Counter::CloseEventDropped);
    println!("{MANY} ends: {told} told, {dropped} found no place");
    assert_eq!(told + dropped, MANY);
    assert!((3_000..MANY).contains(&told), "{told}");
    assert_eq!(scene.ends("joined"), told);
    assert_eq!(
        (scene.ends("missed"), scene.ends("unclaimed")),
        (dropped, 0)
    );
    let with_end = records.iter().filter(|record| record["tcp_in"].is_u64());
    assert_eq!(with_end.count() as u64, told);
}

const CLIENTS: usize = 4;
/// More than 256 KiB have room for.
const MANY: u64 = 4_200;
