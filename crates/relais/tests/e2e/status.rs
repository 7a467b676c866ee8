//! server-status: its keys are httpd's, its numbers those of what runs, tunnels among them.

use crate::harness::origin::Origin;
use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Kind, field, status};
use crate::harness::{eventually, installed};
use crate::origins::{message, origin_behind};
use crate::tunnels::open as open_tunnel;

const PAGES: &str = "LoadModule status_module /usr/lib/apache2/modules/mod_status.so\n\
     <Location /server-status>\nSetHandler server-status\nRequire local\n</Location>\n\
     <Location /no>\nSetHandler server-status\nRequire all denied\n</Location>\n";

fn get(proxy: &Running, target: &str) -> (Vec<u8>, String) {
    let mut client = proxy.connect();
    client.send(&message(&format!(
        "GET {target} HTTP/1.1\nHost: app.example\n\n"
    )));
    let answer = client.message(Kind::Response);
    let body = answer
        .split(|&byte| byte == b'\n')
        .skip_while(|line| line.len() > 1);
    let lines: Vec<String> = body
        .skip(1)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    (answer, lines.join("\n"))
}

/// The keys of `?auto`, in order, but for those that httpd has only from its second second on.
fn keys(auto: &str) -> Vec<String> {
    let late = ["CPULoad", "ReqPerSec", "BytesPerSec"];
    let lines = auto.lines().skip(1);
    let keys = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, _)| key);
    let keys = keys.filter(|key| !late.contains(key) && !key.starts_with("Tunnel"));
    keys.map(str::to_owned).collect()
}

fn value(auto: &str, key: &str) -> String {
    let found = auto
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(have, _)| *have == key);
    found.map_or_else(
        || panic!("no {key} in {auto}"),
        |(_, value)| value.to_owned(),
    )
}

/// httpd's, as seen on 2.4.71.
const KEYS: &str = "ServerVersion ServerMPM|Server Built|CurrentTime RestartTime ParentServerConfigGeneration \
    ParentServerMPMGeneration ServerUptimeSeconds ServerUptime Load1 Load5 Load15|Total Accesses|Total kBytes|\
    Total Duration|CPUUser CPUSystem CPUChildrenUser CPUChildrenSystem Uptime BytesPerReq DurationPerReq BusyWorkers \
    GracefulWorkers IdleWorkers Processes Stopping ConnsTotal ConnsAsyncWaitIO ConnsAsyncWriting ConnsAsyncKeepAlive \
    ConnsAsyncClosing Scoreboard ProxyBalancer[0]Name ProxyBalancer[0]Worker[0]Name ProxyBalancer[0]Worker[0]Status \
    ProxyBalancer[0]Worker[0]Elected ProxyBalancer[0]Worker[0]Busy ProxyBalancer[0]Worker[0]Sent \
    ProxyBalancer[0]Worker[0]Rcvd";

fn known_keys() -> Vec<String> {
    let with_spaces = [
        "Server Built",
        "Total Accesses",
        "Total kBytes",
        "Total Duration",
    ];
    let parts = KEYS.split('|').flat_map(|part| {
        if with_spaces.contains(&part) {
            vec![part]
        } else {
            part.split_whitespace().collect()
        }
    });
    parts.map(str::to_owned).collect()
}

#[test]
fn the_keys_are_those_of_httpd() {
    let origin = Origin::start();
    let balancer = format!(
        "{PAGES}ProxyStatus On\n<Proxy balancer://c>\nBalancerMember http://{}\n</Proxy>\nProxyPass /app balancer://c\n",
        origin.address
    );
    let relais = Running::relais(&balancer);
    get(&relais, "/app");
    let (head, auto) = get(&relais, "/server-status?auto");
    assert_eq!(
        field(&head, "content-type").as_deref(),
        Some("text/plain; charset=iso-8859-1")
    );
    assert_eq!(keys(&auto), known_keys());
    assert!(auto.starts_with("app.example\n"), "{auto}");
    if !installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        return;
    }
    let modules = ["proxy_balancer", "slotmem_shm", "lbmethod_byrequests"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let httpd = Site::new(Program::Httpd, &format!("{}{balancer}", modules.concat())).start();
    get(&httpd, "/app");
    // httpd counts a request when its connection is closed.
    let mut seen = Vec::new();
    let same = eventually(|| {
        seen = keys(&get(&httpd, "/server-status?auto").1);
        seen == known_keys()
    });
    assert!(same, "{seen:?}");
}

#[test]
fn what_is_counted_and_who_may_see_it() {
    let proxy = Running::relais(PAGES);
    for _ in 0..3 {
        assert_eq!(status(&get(&proxy, "/nothing").0), 404);
    }
    assert_eq!(status(&get(&proxy, "/no").0), 403);
    let mut idle = proxy.connect();
    idle.send(&message("GET /kept?<x> HTTP/1.1\nHost: app.example\n\n"));
    idle.message(Kind::Response);
    let mut auto = String::new();
    assert!(
        eventually(|| {
            auto = get(&proxy, "/server-status?auto").1;
            value(&auto, "ConnsAsyncKeepAlive") == "1"
        }),
        "{auto}"
    );
    assert!(
        value(&auto, "Total Accesses")
            .parse::<u32>()
            .expect("a number")
            >= 5
    );
    assert_eq!(value(&auto, "BusyWorkers"), "1");
    assert_eq!(value(&auto, "Scoreboard").matches('W').count(), 1);
    let (head, page) = get(&proxy, "/server-status?refresh=3");
    assert_eq!(field(&head, "refresh").as_deref(), Some("3"));
    assert_eq!(
        field(&head, "content-type").as_deref(),
        Some("text/html; charset=iso-8859-1")
    );
    for text in [
        "<h1>Apache Server Status for app.example (via 127.0.",
        "<td nowrap>GET /kept?&lt;x&gt; HTTP/1.1</td>",
        "<td nowrap>GET /server-status?refresh=3 HTTP/1.1</td>",
        "<td><b>K</b>",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let mut client = proxy.connect();
    client.send(&message(
        "POST /server-status HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
    ));
    assert_eq!(status(&client.message(Kind::Response)), 404);
}

#[test]
fn lines_are_kept_as_the_configuration_says() {
    let target = format!("/{}/end", "x".repeat(80));
    for (lines, shown, hidden) in [
        ("SeeRequestTail On\n", "/end HTTP/1.1</td>", "GET /xxx"),
        (
            "ExtendedStatus Off\n",
            "requests currently being processed",
            "GET /",
        ),
        ("", "GET /xxx", "/end HTTP"),
    ] {
        let proxy = Running::relais(&format!("{lines}{PAGES}"));
        let mut idle = proxy.connect();
        idle.send(&message(&format!(
            "GET {target} HTTP/1.1\nHost: app.example\n\n"
        )));
        idle.message(Kind::Response);
        let page = get(&proxy, "/server-status").1;
        assert!(
            page.contains(shown) && !page.contains(hidden),
            "{lines}: {page}"
        );
    }
}

#[test]
fn tunnels_are_shown_with_what_they_carry() {
    let (listener, proxy) = origin_behind(&format!("{PAGES}ProxyPass /ws ws://ORIGIN/ws"));
    let (mut client, mut origin) = open_tunnel(&listener, &proxy, "/ws/1");
    client.send(b"\x81\x85\0\0\0\0hello");
    assert_eq!(origin.exactly(11), b"\x81\x85\0\0\0\0hello");
    let mut auto = String::new();
    assert!(
        eventually(|| {
            auto = get(&proxy, "/server-status?auto").1;
            value(&auto, "TunnelsTotal") == "1"
                && value(&auto, "TunnelRoute[0]BytesFromClient") == "11"
        }),
        "{auto}"
    );
    assert_eq!(value(&auto, "TunnelRoute[0]MessagesFromClient"), "1");
    assert!(
        value(&auto, "TunnelRoute[0]Rule").starts_with("ProxyPass /ws"),
        "{auto}"
    );
    let page = get(&proxy, "/server-status").1;
    assert!(
        page.contains("<h1>Tunnels: 1 open</h1>") && page.contains("11 B in 1 messages"),
        "{page}"
    );
}
