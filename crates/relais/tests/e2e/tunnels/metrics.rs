//! Metrics: the ends, messages and bytes of tunnels under the names that the log has, over HTTP and on the command line.

use super::{open, passes, run};
use crate::harness::wire::{Kind, status};
use crate::origins::origin_behind;

#[test]
fn metrics_and_log_say_the_same() {
    let (listener, proxy) = origin_behind(
        "LogFormat \"%{tunnel-end}x %{tunnel-bytes-in}x %{tunnel-bytes-out}x %{tunnel-text-in}x\" ends\n\
         CustomLog DIR/ends.log ends\nProxyPass /ws ws://ORIGIN/ws\n\
         <Location /metrics>\nSetHandler tunnel-metrics\n</Location>",
    );
    let (mut kicked, mut kicked_origin) = open(&listener, &proxy, "/ws/x");
    let (mut kept, mut kept_origin) = open(&listener, &proxy, "/ws/y");
    passes(&mut kicked, &mut kicked_origin);
    passes(&mut kept, &mut kept_origin);
    run(&proxy, &["tunnels", "close", "--all"]);
    for (client, origin) in [
        (&mut kicked, &mut kicked_origin),
        (&mut kept, &mut kept_origin),
    ] {
        assert_eq!(client.rest(), super::NORMAL);
        origin.rest();
    }
    drop((kicked, kicked_origin, kept, kept_origin));
    assert_eq!(proxy.log("ends.log", 2), ["kicked 7 3 1"; 2]);
    let (_client, _origin) = open(&listener, &proxy, "/ws/z");
    let mut http = proxy.connect();
    http.send(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = http.message(Kind::Response);
    assert_eq!(status(&answer), 200);
    let answer = String::from_utf8(answer).expect("text");
    let command = run(&proxy, &["metrics"]);
    let file = proxy.site.file();
    let origin = listener.local_addr().expect("an address");
    let open = format!(
        "relais_tunnels_open{{host=\"main.example\",route=\"ProxyPass /ws\",place=\"{}:",
        file.display()
    );
    for expected in [
        open.as_str(),
        &format!(",origin=\"{origin}\"}} 1\n"),
        "relais_tunnels_opened_total 3\n",
        "relais_tunnels_ended_total{end=\"kicked\"} 2\n",
        "relais_tunnels_ended_total{end=\"idle\"} 0\n",
        "relais_tunnels_bytes_total{direction=\"in\"} 14\n",
        "relais_tunnels_bytes_total{direction=\"out\"} 6\n",
        "relais_tunnels_messages_total{direction=\"in\",kind=\"text\"} 2\n",
        "relais_tunnels_messages_total{direction=\"out\",kind=\"binary\"} 0\n",
        "relais_tunnels_violations_total{direction=\"in\"} 0\n",
    ] {
        assert!(answer.contains(expected), "{expected} in\n{answer}");
        assert!(command.contains(expected), "{expected} in\n{command}");
    }
    assert!(command.contains("relais_snapshots 1\n"), "{command}");
    assert!(command.contains("relais_reloads_total{result=\"done\"} 0\n"));
}
