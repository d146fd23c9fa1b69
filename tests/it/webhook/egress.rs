//! The egress guard: nothing of our own networks can be reached by naming it, however it is named.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use whatsapp_gateway::domain::network::Own;
use whatsapp_gateway::egress::{Answer, Call, Follow, Guard, Lookup, Refusal, Size};

use super::{Receiver, Reply};

/// URLs that name something of ours. `rebind` and `.evil` names resolve as [`hostile_names`] says.
const HOSTILE: [&str; 74] = [
    // Loopback in every spelling.
    "http://127.0.0.1/",
    "http://127.0.0.1:6379/",
    "https://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://127.000.000.001/",
    "http://127.255.255.254/",
    "http://127.0.0.1./",
    "http://①②⑦.⓪.⓪.①/",
    "http://%31%32%37.0.0.1/",
    "http://[::1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[0000::0001]:8080/",
    // Unspecified, this network, broadcast, multicast, reserved.
    "http://0.0.0.0/",
    "http://0/",
    "http://0.1.2.3/",
    "http://[::]/",
    "http://255.255.255.255/",
    "http://4294967295/",
    "http://224.0.0.1/",
    "http://239.255.255.250/",
    "http://240.0.0.1/",
    "http://[ff02::1]/",
    "http://[ff0e::1]/",
    // Private, shared, link-local, documentation, benchmarks.
    "http://10.0.0.1/",
    "http://012.0.0.1/",
    "http://0xa000001/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://3232235521/",
    "http://0xc0.0xa8.0.1/",
    "http://100.64.0.1/",
    "http://169.254.0.1/",
    "http://192.0.2.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://198.18.0.1/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd12:3456:789a::1]/",
    "http://[2001:db8::1]/",
    // Metadata of clouds.
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://168.63.129.16/",
    "http://[fd00:ec2::254]/",
    // IPv4 inside IPv6.
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:53aa:64c:0:fbff:80ff:fffe]/",
    // By name.
    "http://loopback.evil/",
    "http://metadata.evil/",
    "http://mapped.evil/",
    "http://nat64.evil/",
    "http://mixed.evil/",
    // Not HTTP, or with somebody else's words in front.
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://example.com/",
    "http://example.com@127.0.0.1/",
    "http://user:secret@example.com/",
];

fn own(list: &[&str]) -> Vec<Own> {
    list.iter().map(|text| Own::parse(text).unwrap()).collect()
}

fn get(url: &str) -> Call {
    Call {
        method: Method::GET,
        url: url.to_owned(),
        headers: HeaderMap::new(),
        private: HeaderMap::new(),
        body: Bytes::new(),
        follow: Follow::Get,
        size: Size::AtMost(1 << 16),
        timeout: Duration::from_secs(10),
    }
}

/// A name server in hostile hands; it counts its questions.
fn hostile_names(asked: Arc<AtomicUsize>) -> Lookup {
    Arc::new(move |name| {
        asked.fetch_add(1, Ordering::SeqCst);
        let addresses: &[&str] = match name.as_str() {
            "loopback.evil" => &["127.0.0.1"],
            "metadata.evil" => &["169.254.169.254"],
            "mapped.evil" => &["::ffff:10.0.0.1"],
            "nat64.evil" => &["64:ff9b::7f00:1"],
            // One good address does not excuse the other.
            "mixed.evil" => &["93.184.216.34", "127.0.0.1"],
            _ => &[],
        };
        let found: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(found) })
    })
}

#[tokio::test]
async fn hostile_addresses_are_refused_before_anything_is_sent() {
    let guard = Guard::with_lookup(Vec::new(), hostile_names(Arc::default())).unwrap();
    for url in HOSTILE {
        assert_eq!(guard.send(get(url)).await.map(|answer| answer.status), Err(Refusal::Denied), "{url}");
        // What has its address in its text is refused already when somebody sets it.
        if !url.contains(".evil") {
            assert_eq!(guard.check(url), Err(Refusal::Denied), "{url}");
        }
    }
    let long = format!("http://example.com/{}", "a".repeat(2048));
    for url in ["", "http://", "//127.0.0.1/", "javascript:alert(1)", "http://[fe80::1%25eth0]/", "not a url", &long] {
        assert_eq!(guard.check(url), Err(Refusal::Denied), "{url}");
    }
    assert_eq!(guard.check("https://example.com:8443/hooks?x=1"), Ok(()));
    // For connections that are no HTTP.
    for host in ["127.0.0.1", "[::1]", "::ffff:10.0.0.1", "metadata.evil", "mixed.evil"] {
        assert_eq!(guard.resolve(host, 1080).await, Err(Refusal::Denied), "{host}");
    }
    assert_eq!(guard.resolve("nobody.example", 1080).await, Err(Refusal::Unreachable));
}

#[tokio::test]
async fn what_is_told_outward_names_no_address() {
    let guard = Guard::with_lookup(own(&["127.0.0.0/8"]), hostile_names(Arc::default())).unwrap();
    let refusals = [
        guard.send(get("http://metadata.evil/")).await.unwrap_err(),
        // A port that nobody listens on, and a name that nobody has.
        guard.send(get("http://127.0.0.1:1/")).await.unwrap_err(),
        guard.send(get("http://nobody.example/")).await.unwrap_err(),
    ];
    let told = refusals.map(|refusal| refusal.to_string());
    assert_eq!(told, ["the address is not allowed", "could not be reached", "could not be reached"]);
}

/// The name resolves to an allowed address for the check and to another for the connection, if anybody asks twice.
#[tokio::test]
async fn a_name_is_resolved_once_and_the_answer_is_what_is_connected_to() {
    let good = Receiver::start_at("127.0.0.1:0", []).await;
    let Ok(bad) = tokio::net::TcpListener::bind(("127.0.0.2", good.address.port())).await else {
        panic!("127.0.0.2 cannot be listened on");
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let lookup: Lookup = Arc::new(move |_| {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        let address: IpAddr = if first { "127.0.0.1" } else { "127.0.0.2" }.parse().unwrap();
        Box::pin(async move { Ok(vec![address]) })
    });
    let guard = Guard::with_lookup(own(&["127.0.0.1"]), lookup).unwrap();
    let url = format!("http://rebind.evil:{}/", good.address.port());
    assert_eq!(guard.send(get(&url)).await.unwrap().status, 200);
    assert_eq!((asked.load(Ordering::SeqCst), good.count()), (1, 1), "one question, one connection");

    // Whoever asks again gets the other address, and is refused before a connection.
    let fresh = guard.resolve("rebind.evil", good.address.port()).await;
    assert_eq!(fresh, Err(Refusal::Denied));
    let nobody = tokio::time::timeout(Duration::from_millis(1), bad.accept()).await;
    assert!(nobody.is_err(), "nothing was connected to the second address");
}

#[tokio::test]
async fn redirects_are_checked_like_the_first_address() {
    let asked = Arc::new(AtomicUsize::new(0));
    let guard = Guard::with_lookup(own(&["127.0.0.1"]), hostile_names(asked)).unwrap();
    let targets = [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.2/",
        "http://[::1]/",
        "http://0x7f.2/",
        "http://metadata.evil/",
        "//10.0.0.1/",
        "file:///etc/passwd",
        "http://user@127.0.0.1/",
    ];
    for target in targets {
        for status in [301, 302, 303, 307, 308] {
            let receiver = Receiver::start([Reply::With(status, "location", target.to_owned(), String::new())]).await;
            let answer = guard.send(get(&receiver.url())).await.map(|answer| answer.status);
            assert_eq!(answer, Err(Refusal::Denied), "{status} to {target}");
        }
    }
}

#[tokio::test]
async fn redirects_end_and_leave_credentials_behind() {
    let guard = Guard::with_lookup(own(&["127.0.0.1"]), hostile_names(Arc::default())).unwrap();
    let last = Receiver::start([]).await;
    let elsewhere = Reply::With(307, "location", last.url(), String::new());
    let first = Receiver::start([Reply::With(307, "location", "/next".into(), String::new()), elsewhere]).await;
    let mut call = get(&first.url());
    call.method = Method::POST;
    call.follow = Follow::Same;
    call.body = Bytes::from_static(b"content");
    call.headers.insert("x-ours", HeaderValue::from_static("1"));
    call.private.insert("authorization", HeaderValue::from_static("Bearer x"));
    assert_eq!(guard.send(call.clone()).await.unwrap().status, 200);
    let (near, far) = (first.hits(), last.hits());
    assert_eq!((near[1].path.as_str(), near[1].header("authorization")), ("/next", "Bearer x"), "the same origin");
    assert_eq!((far[0].header("x-ours"), far[0].header("authorization")), ("1", ""), "another origin");
    assert_eq!(far[0].body, Bytes::from_static(b"content"));

    // A redirect that would turn the call into another one is the answer.
    let turned = Receiver::start([Reply::With(302, "location", last.url(), String::new())]).await;
    call.url = turned.url();
    assert_eq!(guard.send(call).await.unwrap().status, 302);

    let circle = Receiver::start([]).await;
    circle.henceforth(Some(Reply::With(302, "location", "/hook".into(), String::new())));
    assert_eq!(guard.send(get(&circle.url())).await.unwrap_err(), Refusal::Redirects);
    assert_eq!(circle.count(), 4, "the first address and three redirects");
}

#[tokio::test]
async fn answers_are_capped_in_size_and_time() {
    let guard = Guard::with_lookup(own(&["127.0.0.1"]), hostile_names(Arc::default())).unwrap();
    let big = || Reply::With(200, "x-a", "b".into(), "x".repeat(100_000));
    let receiver = Receiver::start([big(), big(), Reply::Hang]).await;
    let url = receiver.url();
    assert_eq!(guard.send(get(&url)).await.unwrap_err(), Refusal::TooLarge);
    let Answer { status, body, .. } = guard.send(Call { size: Size::First(256), ..get(&url) }).await.unwrap();
    assert_eq!((status, body.len()), (200, 256));
    let hurried = Call { timeout: Duration::from_millis(100), ..get(&url) };
    assert_eq!(guard.send(hurried).await.unwrap_err(), Refusal::Timeout);
}

#[tokio::test]
async fn ones_own_networks_and_hosts_can_be_allowed() {
    let receiver = Receiver::start([]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let names = seen.clone();
    let lookup: Lookup = Arc::new(move |name| {
        names.lock().unwrap().push(name);
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    });
    let guard = Guard::with_lookup(own(&["hooks.internal"]), lookup).unwrap();
    let port = receiver.address.port();
    assert_eq!(guard.send(get(&format!("http://hooks.internal:{port}/"))).await.unwrap().status, 200);
    assert_eq!(guard.send(get(&format!("http://other.internal:{port}/"))).await.unwrap_err(), Refusal::Denied);
    assert_eq!(guard.send(get(&receiver.url())).await.unwrap_err(), Refusal::Denied, "the name is allowed, not the address");
    assert_eq!(*seen.lock().unwrap(), ["hooks.internal", "other.internal"]);
}
