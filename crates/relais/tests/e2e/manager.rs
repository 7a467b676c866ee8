//! balancer-manager: its forms are httpd's, its changes count for whatever comes next, and who may make them.

use std::collections::BTreeSet;

use crate::harness::origin::{Origin, Then};
use crate::harness::program::{Program, Running, Site};
use crate::harness::wire::{Kind, field, status};
use crate::harness::{eventually, installed};
use crate::origins::{message, origin_behind};
use crate::tunnels::open as open_tunnel;

const PAGES: &str = "<Location /manager>\nSetHandler balancer-manager\nRequire local\n</Location>\n\
     <Location /no>\nSetHandler balancer-manager\nRequire all denied\n</Location>\n";

/// Two origins that say who they are behind a balancer, and the page.
fn start(parameters: &str) -> (Origin, Origin, Running) {
    let a = Origin::with(|_| message("HTTP/1.1 200 OK\nX-Origin: a\nContent-Length: 0\n\n"));
    let b = Origin::with(|_| message("HTTP/1.1 200 OK\nX-Origin: b\nContent-Length: 0\n\n"));
    let proxy = Running::relais(&format!(
        "{PAGES}ProxyPass /app balancer://c nonce=secret growth=1 stickysession=S {parameters}\n\
         <Proxy balancer://c>\nBalancerMember http://{} route=a\nBalancerMember http://{} route=b\n</Proxy>\n",
        a.address, b.address
    ));
    (a, b, proxy)
}

/// Sends a form, as a page of the same server would.
fn change(proxy: &Running, form: &str) -> String {
    let mut client = proxy.connect();
    client.send(&message(&format!(
        "POST /manager HTTP/1.1\nHost: app.example\nReferer: http://app.example/manager?b=c\n\
         Content-Type: application/x-www-form-urlencoded\nContent-Length: {}\n\n{form}",
        form.len()
    )));
    let answer = client.message(Kind::Response);
    assert_eq!(status(&answer), 200);
    String::from_utf8(answer).expect("text")
}

/// Changes the member at an address.
fn change_member(proxy: &Running, origin: &Origin, changes: &str) -> String {
    let form = format!("b=c&nonce=secret&w=http://{}&{changes}", origin.address);
    change(proxy, &form)
}

fn get(proxy: &Running, target: &str, referer: &str) -> Vec<u8> {
    let mut client = proxy.connect();
    client.send(&message(&format!(
        "GET {target} HTTP/1.1\nHost: app.example\n{referer}\n"
    )));
    client.message(Kind::Response)
}

const REFERER: &str = "Referer: http://app.example/manager\n";

/// Who answers requests, each on a connection and so on a thread of its own.
fn answers(proxy: &Running, cookie: &str, count: usize) -> BTreeSet<String> {
    let ask = |_| {
        let answer = get(proxy, "/app", cookie);
        field(&answer, "x-origin").unwrap_or_else(|| status(&answer).to_string())
    };
    (0..count).map(ask).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The names of a page's form.
fn names(page: &str) -> BTreeSet<String> {
    let parts = page.split(" name='").skip(1);
    let names = parts.filter_map(|part| part.split_once('\''));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The headings of a page's tables.
fn headings(page: &str) -> Vec<String> {
    let parts = page.split("<th>").skip(1);
    let headings = parts.filter_map(|part| part.split_once("</th>"));
    headings.map(|(heading, _)| heading.to_owned()).collect()
}

#[test]
fn the_forms_are_those_of_httpd() {
    if !installed(&[("/usr/sbin/apache2", "apache2-bin")]) {
        return;
    }
    let config = format!(
        "{PAGES}ProxyHCExpr good {{%{{REQUEST_STATUS}} =~ /^2/}}\n\
         ProxyPass /app balancer://c nonce=secret growth=1\n\
         <Proxy balancer://c>\nBalancerMember http://127.0.0.1:1 hcmethod=GET hcexpr=good\n</Proxy>\n"
    );
    let modules = [
        "proxy_balancer",
        "slotmem_shm",
        "lbmethod_byrequests",
        "proxy_hcheck",
    ]
    .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"));
    let httpd = Site::new(Program::Httpd, &format!("{}{config}", modules.concat())).start();
    let relais = Running::relais(&config);
    for query in [
        "",
        "?b=c&nonce=secret",
        "?b=c&nonce=secret&w=http://127.0.0.1:1",
    ] {
        let page = |server: &Running| {
            let answer = get(server, &format!("/manager{query}"), REFERER);
            assert_eq!(
                field(&answer, "content-type").as_deref(),
                Some("text/html; charset=iso-8859-1")
            );
            String::from_utf8(answer).expect("text")
        };
        let (ours, theirs) = (page(&relais), page(&httpd));
        let own = BTreeSet::from(["w_tunnels".to_owned()]);
        let without_own: BTreeSet<String> = names(&ours).difference(&own).cloned().collect();
        assert_eq!(without_own, names(&theirs), "{query}");
        assert_eq!(query.is_empty(), without_own.is_empty(), "{query}");
        let known = headings(&theirs);
        let own: Vec<String> = headings(&ours);
        let missing: Vec<_> = known
            .iter()
            .filter(|heading| !own.contains(heading))
            .collect();
        assert!(
            missing
                .iter()
                .all(|heading| ["Health Check param", "Value"].contains(&heading.as_str())),
            "{missing:?}"
        );
    }
}

#[test]
fn who_may_change_something() {
    let (a, _b, proxy) = start("");
    assert_eq!(status(&get(&proxy, "/no", "")), 403);
    let off = format!("/manager?b=c&w=http://{}&w_status_D=1&nonce", a.address);
    let tries = [
        (format!("{off}=secret"), ""),
        (format!("{off}=secret"), "Referer: http://evil.example/\n"),
        (format!("{off}=secret"), "Referer: http://app.example:81/\n"),
        (format!("{off}=wrong"), REFERER),
        (off.clone(), REFERER),
    ];
    for (target, referer) in &tries {
        assert_eq!(status(&get(&proxy, target, referer)), 200);
        assert_eq!(
            answers(&proxy, "", 4),
            set(&["a", "b"]),
            "{target} {referer}"
        );
    }
    assert!(proxy.says("AH10187"));
    get(&proxy, &format!("{off}=secret"), REFERER);
    assert_eq!(answers(&proxy, "", 4), set(&["b"]));
    assert!(
        proxy.says("has Dis on, as 127.0.0."),
        "{}",
        proxy.site.said()
    );
    let mut client = proxy.connect();
    client.send(&message(
        "POST /manager HTTP/1.1\nHost: a\nContent-Length: 9000\n\n",
    ));
    assert_eq!(status(&client.message(Kind::Response)), 413);
}

#[test]
fn a_nonce_is_made_for_who_gives_none() {
    let (a, _b, proxy) = start("");
    let plain = Running::relais(&format!(
        "{PAGES}<Proxy balancer://c>\nBalancerMember http://{}\n</Proxy>\n",
        a.address
    ));
    let nonce = |proxy: &Running| {
        let page = String::from_utf8(get(proxy, "/manager", "")).expect("text");
        let (_, rest) = page.split_once("nonce=").expect("a link with a nonce");
        rest.split('"').next().unwrap_or_default().to_owned()
    };
    assert_eq!(nonce(&proxy), "secret");
    assert_eq!(nonce(&plain).len(), 32);
    let xml = get(
        &plain,
        &format!("/manager?xml=1&nonce={}", nonce(&plain)),
        REFERER,
    );
    assert_eq!(field(&xml, "content-type").as_deref(), Some("text/xml"));
    let xml = String::from_utf8(xml).expect("text");
    assert!(
        xml.contains(&format!("<httpd:name>http://{}</httpd:name>", a.address)),
        "{xml}"
    );
}

#[test]
fn changes_count_at_once_on_every_thread() {
    let (a, b, proxy) = start("");
    let session = "Cookie: S=1.a\n";
    assert_eq!(answers(&proxy, "", 4), set(&["a", "b"]));
    for (origin, changes, plain, of_session) in [
        (&a, "w_status_D=1", "b", "b"),
        (&a, "w_status_D=0&w_status_N=1", "b", "a"),
        (&a, "w_status_N=0&w_status_S=1&w_wr=other", "b", "b"),
        (&b, "w_wr=a&w_status_H=1", "b", "b"),
        (&a, "w_status_S=0", "a", "b"),
        (&a, "w_status_C=1", "b", "b"),
        (&b, "w_status_D=1", "503", "503"),
    ] {
        change_member(&proxy, origin, changes);
        assert_eq!(answers(&proxy, "", 8), set(&[plain]), "{changes}");
        assert_eq!(answers(&proxy, session, 4), set(&[of_session]), "{changes}");
    }
    let page = change_member(&proxy, &a, "w_lf=2.5&w_ls=3&w_rr=x%26y");
    let row = "<td>other</td><td>x&amp;y</td><td>2.50</td><td>3</td><td>Init HcFl </td>";
    assert!(page.contains(row), "{page}");
}

#[test]
fn a_balancer_changes_and_grows() {
    let (_a, _b, proxy) = start("");
    let more = Origin::with(|_| message("HTTP/1.1 200 OK\nX-Origin: c\nContent-Length: 0\n\n"));
    let page = change(
        &proxy,
        &format!(
            "b=c&nonce=secret&b_lbm=bybusyness&b_ss=-&b_max=0&b_tmo=3&b_sforce=1&b_wyes=1&b_nwrkr=http://{}",
            more.address
        ),
    );
    for text in [
        "<td>3 [3 Used]</td>",
        "<td>bybusyness</td>",
        "(None)",
        "<td>On</td>",
        "Init Dis ",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(
        !answers(&proxy, "", 9).contains("c"),
        "not before it is enabled"
    );
    change_member(&proxy, &more, "w_status_D=0");
    assert!(answers(&proxy, "", 9).contains("c"));
}

#[test]
fn a_health_check_can_be_changed() {
    let a = Origin::with(|_| message("HTTP/1.1 200 OK\nX-State: UP\nContent-Length: 4\n\nDOWN"));
    let proxy = Running::relais(&format!(
        "{PAGES}ProxyHCExpr field {{%{{resp:X-State}} == 'UP'}}\nProxyHCExpr body \"hc('body') != 'DOWN'\"\n\
         ProxyPass /app balancer://c nonce=secret\n<Proxy balancer://c>\n\
         BalancerMember http://{} hcmethod=GET11 hcinterval=100ms hcexpr=body\n</Proxy>\n",
        a.address
    ));
    assert!(proxy.says("the condition body does not hold"));
    assert_eq!(status(&get(&proxy, "/app", "")), 503);
    let page = change_member(&proxy, &a, "w_he=field&w_hu=/up");
    assert!(
        page.contains("<td>field</td>") && page.contains("<td>/up</td>"),
        "{page}"
    );
    assert!(proxy.says("health check enabling"));
    assert!(eventually(|| status(&get(&proxy, "/app", "")) == 200));
    let asked = a.received();
    assert!(
        asked
            .iter()
            .any(|request| request.bytes.starts_with(b"GET /up HTTP/1.1"))
    );
}

#[test]
fn tunnels_of_a_drained_member_end_with_it() {
    let (listener, proxy) = origin_behind(&format!(
        "{PAGES}TunnelDrainWindow 1\nProxyPass /ws balancer://c/ws nonce=secret\nProxyPass /other balancer://cc/ws\n\
         <Proxy balancer://c>\nBalancerMember ws://ORIGIN\n</Proxy>\n<Proxy balancer://cc>\nBalancerMember ws://ORIGIN\n</Proxy>\n"
    ));
    let (mut client, mut origin) = open_tunnel(&listener, &proxy, "/ws/1");
    let (mut other, mut other_origin) = open_tunnel(&listener, &proxy, "/other/1");
    let address = listener.local_addr().expect("an address");
    let page = change(
        &proxy,
        &format!("b=c&nonce=secret&w=ws://{address}&w_status_N=1&w_tunnels=drain"),
    );
    assert!(page.contains("Init Drn Ok "), "{page}");
    assert_eq!(client.exactly(4), b"\x88\x02\x03\xf4");
    drop(origin.exactly(8));
    other.send(b"\x81\x81\0\0\0\0!");
    assert_eq!(
        other_origin.exactly(7),
        b"\x81\x81\0\0\0\0!",
        "of another balancer"
    );
    assert!(proxy.says("1 tunnels to"));
}

/// The page is for whoever may see it, whatever else an origin would say.
#[test]
fn a_proxied_path_is_not_the_page() {
    let origin = Origin::start();
    origin.reply([(
        message("HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
        Then::Keep,
    )]);
    let proxy = Running::relais(&format!(
        "{PAGES}ProxyPass /manager http://{}/\n",
        origin.address
    ));
    assert!(get(&proxy, "/manager", "").ends_with(b"\r\n\r\nok"));
}
