//! The proxies that are compared: how to find and start them, and their configurations below `bench/peers/`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process;
use crate::rewrite;

/// What a proxy is to do, for which its configuration differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Setup {
    /// All goes to the origin.
    Plain,
    /// The rules of the page in the README, and a field with a name for each request.
    Page,
    /// A thousand rewrite rules of which the last one fits.
    Rules,
    /// As `Plain`, for as many tunnels as descriptors allow.
    Many,
    /// As `Plain`, over TLS.
    Tls,
    /// As `Many`, over TLS.
    ManyTls,
    /// HTTP/2 over TLS.
    Http2,
}

impl Setup {
    /// Whether the proxy's port is one of TLS.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::ManyTls | Self::Http2)
    }
}

/// A proxy and how to start it.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
    text: &'static str,
    fragments: fn(Setup) -> Option<Fragments>,
}

/// What a setup puts in the place of `LISTENER` and `RULES` in a configuration.
struct Fragments {
    listener: &'static str,
    rules: String,
}

/// The proxies that are installed, and the names of those that are not. relais is where `relais` says; programs of
/// Python packages are below `packages`.
pub(crate) fn installed(
    relais: Option<&Path>,
    packages: Option<&Path>,
) -> (Vec<Peer>, Vec<&'static str>) {
    let below = |path: &str| packages.map(|folder| folder.join(path)).unwrap_or_default();
    let peer = |name, program: PathBuf, arguments, text, fragments| Peer {
        name,
        program,
        arguments,
        text,
        fragments,
    };
    let httpd = include_str!("../peers/httpd.conf");
    let all = [
        peer(
            "relais",
            relais.map(Path::to_owned).unwrap_or_default(),
            &["-f", "FILE", "-DFOREGROUND"],
            httpd,
            for_httpd,
        ),
        peer(
            "nginx",
            "/usr/sbin/nginx".into(),
            &["-c", "FILE", "-e", "DIR/nginx.log"],
            include_str!("../peers/nginx.conf"),
            for_nginx,
        ),
        peer(
            "HAProxy",
            "/usr/sbin/haproxy".into(),
            &["-f", "FILE"],
            include_str!("../peers/haproxy.cfg"),
            for_haproxy,
        ),
        peer(
            "Envoy",
            below("envoy/_bin/envoy"),
            &[
                "-c",
                "FILE",
                "--concurrency",
                "1",
                "--log-level",
                "error",
                "--use-dynamic-base-id",
            ],
            include_str!("../peers/envoy.yaml"),
            for_envoy,
        ),
        peer(
            "Caddy",
            below("bin/caddy"),
            &["run", "--adapter", "caddyfile", "--config", "FILE"],
            include_str!("../peers/Caddyfile"),
            for_caddy,
        ),
        peer(
            "httpd",
            "/usr/sbin/apache2".into(),
            &["-f", "FILE", "-DFOREGROUND"],
            httpd,
            for_httpd,
        ),
    ];
    let (present, absent): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|peer| peer.program.is_file());
    (present, absent.iter().map(|peer| peer.name).collect())
}

fn for_httpd(setup: Setup) -> Option<Fragments> {
    let rules = match setup {
        Setup::Page => HTTPD_PAGE.to_owned(),
        Setup::Rules => rewrite::httpd(),
        _ => String::new(),
    };
    let listener = match setup {
        Setup::Tls | Setup::ManyTls => HTTPD_TLS,
        Setup::Http2 => HTTPD_HTTP2,
        _ => "",
    };
    Some(Fragments { listener, rules })
}

fn for_nginx(setup: Setup) -> Option<Fragments> {
    let rules = match setup {
        Setup::Page => NGINX_PAGE.to_owned(),
        Setup::Rules => rewrite::nginx(),
        _ => String::new(),
    };
    let listener = match setup {
        Setup::Tls | Setup::ManyTls => {
            "listen ADDRESS ssl; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem;"
        }
        Setup::Http2 => {
            "listen ADDRESS ssl http2; ssl_certificate DIR/cert.pem; ssl_certificate_key DIR/key.pem;"
        }
        _ => "listen ADDRESS;",
    };
    Some(Fragments { listener, rules })
}

fn for_haproxy(setup: Setup) -> Option<Fragments> {
    let rules = match setup {
        Setup::Page => HAPROXY_PAGE,
        Setup::Rules => return None,
        _ => "",
    };
    let listener = match setup {
        Setup::Tls | Setup::ManyTls => "bind ADDRESS ssl crt DIR/both.pem",
        Setup::Http2 => "bind ADDRESS ssl crt DIR/both.pem alpn h2",
        _ => "bind ADDRESS",
    };
    Some(Fragments {
        listener,
        rules: rules.to_owned(),
    })
}

fn for_envoy(setup: Setup) -> Option<Fragments> {
    let rules = match setup {
        Setup::Page => ENVOY_PAGE,
        Setup::Rules => return None,
        _ => "",
    };
    let listener = match setup {
        Setup::Tls | Setup::ManyTls => ENVOY_TLS,
        Setup::Http2 => ENVOY_HTTP2,
        _ => "",
    };
    Some(Fragments {
        listener,
        rules: rules.to_owned(),
    })
}

fn for_caddy(setup: Setup) -> Option<Fragments> {
    let rules = match setup {
        Setup::Page => CADDY_PAGE,
        Setup::Rules => return None,
        _ => "",
    };
    let listener = if setup.is_tls() {
        "tls DIR/cert.pem DIR/key.pem"
    } else {
        ""
    };
    Some(Fragments {
        listener,
        rules: rules.to_owned(),
    })
}

impl Peer {
    /// Whether the proxy has what a setup asks for.
    pub(crate) fn can(&self, setup: Setup) -> bool {
        (self.fragments)(setup).is_some()
    }

    /// The configuration for a setup, for a proxy at `address` with its files in `folder`.
    fn configuration(
        &self,
        setup: Setup,
        address: SocketAddr,
        origin: SocketAddr,
        folder: &Path,
    ) -> Option<String> {
        let Fragments { listener, rules } = (self.fragments)(setup)?;
        let many = matches!(setup, Setup::Many | Setup::ManyTls);
        let words = [
            ("LISTENER", listener.to_owned()),
            ("RULES", rules),
            ("ADDRESS", address.to_string()),
            ("ORIGINHOST", origin.ip().to_string()),
            ("ORIGINPORT", origin.port().to_string()),
            ("ORIGIN", origin.to_string()),
            ("PORT", address.port().to_string()),
            ("DIR", folder.display().to_string()),
            // httpd gives a thread to each tunnel.
            ("PROCESSES", if many { "10" } else { "1" }.to_owned()),
            (
                "SCHEME",
                if setup.is_tls() { "https" } else { "http" }.to_owned(),
            ),
            (
                "PROTOCOLS",
                if setup == Setup::Http2 { "h1 h2" } else { "h1" }.to_owned(),
            ),
        ];
        let fill = |text: String, (word, value): &(&str, String)| text.replace(word, value);
        Some(words.iter().fold(self.text.to_owned(), fill))
    }
}

/// A proxy that accepts connections; it is stopped when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Running {
    /// Starts the proxy in front of `origin` with its files in `folder`.
    pub(crate) fn start(
        peer: &Peer,
        setup: Setup,
        origin: SocketAddr,
        folder: &Path,
    ) -> io::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let unfit = || io::Error::other("this setup is not its");
        let text = peer
            .configuration(setup, address, origin, folder)
            .ok_or_else(unfit)?;
        let file = folder.join(format!("{}.conf", peer.name));
        // Envoy looks at the end of the name.
        let file = if peer.name == "Envoy" {
            file.with_extension("yaml")
        } else {
            file
        };
        fs::write(&file, text)?;
        let dir = folder.display().to_string();
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", "0"])
            .arg(&peer.program)
            .process_group(0)
            .env("GOMAXPROCS", "1")
            .env("HOME", folder)
            .stdin(Stdio::null());
        command.args(peer.arguments.iter().map(|word| {
            word.replace("FILE", &file.to_string_lossy())
                .replace("DIR", &dir)
        }));
        let log = fs::File::create(folder.join(format!("{}.out", peer.name)))?;
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut running = Self { address, child };
        running.wait(peer, folder)?;
        Ok(running)
    }

    fn wait(&mut self, peer: &Peer, folder: &Path) -> io::Result<()> {
        for _ in 0..1000 {
            if TcpStream::connect(self.address).is_ok() {
                // httpd goes on starting processes after the first one accepts.
                std::thread::sleep(Duration::from_millis(300));
                return Ok(());
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = fs::read_to_string(folder.join(format!("{}.out", peer.name)));
        let said = said.unwrap_or_default();
        let first: Vec<&str> = said
            .lines()
            .filter(|line| !line.trim().is_empty())
            .take(3)
            .collect();
        Err(io::Error::other(format!(
            "does not start: {}",
            first.join(" / ")
        )))
    }

    /// Nanoseconds of processor time of the proxy so far.
    pub(crate) fn cpu_ns(&self) -> u64 {
        process::cpu_ns(self.child.id())
    }

    /// Anonymous memory of the proxy's processes in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        process::memory_kib(self.child.id())
    }

    /// The proxy's first process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let kill = |signal: &str| {
            Command::new("kill")
                .args([signal, "--", &group])
                .stderr(Stdio::null())
                .status()
        };
        let _ = kill("-TERM");
        for _ in 0..50 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = kill("-KILL");
        let _ = self.child.wait();
    }
}

const HTTPD_TLS: &str = "\
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
SSLEngine On
SSLCertificateFile DIR/cert.pem
SSLCertificateKeyFile DIR/key.pem";

const HTTPD_HTTP2: &str = "\
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule http2_module /usr/lib/apache2/modules/mod_http2.so
SSLEngine On
SSLCertificateFile DIR/cert.pem
SSLCertificateKeyFile DIR/key.pem
Protocols h2 http/1.1";

const HTTPD_PAGE: &str = "\
LoadModule rewrite_module /usr/lib/apache2/modules/mod_rewrite.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LoadModule unique_id_module /usr/lib/apache2/modules/mod_unique_id.so
LoadModule proxy_wstunnel_module /usr/lib/apache2/modules/mod_proxy_wstunnel.so
RequestHeader set X-RP-UNIQUE_ID %{UNIQUE_ID}e
RewriteEngine On
RewriteCond %{HTTP:Upgrade} websocket [NC]
RewriteRule /eventbus/(.*)$ ws://ORIGIN/eventbus/$1 [proxy,last]
RewriteRule /eventbus/(.*)$ http://ORIGIN/eventbus/$1 [proxy,last]
ProxyPassReverse /eventbus http://ORIGIN/eventbus";

const NGINX_PAGE: &str = "\
location /eventbus {
      proxy_pass http://origin;
      proxy_set_header Host $host;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-RP-UNIQUE_ID $request_id;
    }";

const HAPROXY_PAGE: &str = "\
unique-id-format %{+X}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header X-RP-UNIQUE_ID
  use_backend origin if { path_beg /eventbus }";

const ENVOY_PAGE: &str = "\
- match: { prefix: \"/eventbus\" }
                          route: { cluster: origin, timeout: 0s }
                          request_headers_to_add:
                            - header: { key: X-RP-UNIQUE_ID, value: \"%REQ(X-REQUEST-ID)%\" }";

const ENVOY_TLS: &str = "\
transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                tls_params: { tls_maximum_protocol_version: TLSv1_3 }
                tls_certificates:
                  - certificate_chain: { filename: DIR/cert.pem }
                    private_key: { filename: DIR/key.pem }";

const ENVOY_HTTP2: &str = "\
transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2]
                tls_params: { tls_maximum_protocol_version: TLSv1_3 }
                tls_certificates:
                  - certificate_chain: { filename: DIR/cert.pem }
                    private_key: { filename: DIR/key.pem }";

const CADDY_PAGE: &str = "\
handle /eventbus/* {
		reverse_proxy ORIGIN {
			header_up X-RP-UNIQUE_ID {http.request.uuid}
			transport http {
				keepalive_idle_conns_per_host 128
			}
		}
	}";
