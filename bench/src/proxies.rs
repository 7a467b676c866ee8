//! The proxies, their configurations, and how they are started on the first CPU.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process;

/// A proxy, how to start it, and its configuration with `LISTEN`, `ORIGIN` and `DIR` to fill in.
pub(crate) struct Proxy {
    pub(crate) name: &'static str,
    program: String,
    arguments: &'static [&'static str],
    configuration: String,
}

/// The proxies that are installed; relais is where `relais` says.
pub(crate) fn installed(relais: Option<&Path>) -> Vec<Proxy> {
    let relais = relais
        .map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default();
    let all = [
        (
            "relais",
            relais.as_str(),
            &["-f", "FILE", "-DFOREGROUND"][..],
            HTTPD,
        ),
        (
            "nginx",
            "/usr/sbin/nginx",
            &["-c", "FILE", "-e", "DIR/nginx.log"],
            NGINX,
        ),
        ("HAProxy", "/usr/sbin/haproxy", &["-f", "FILE"], HAPROXY),
        (
            "httpd",
            "/usr/sbin/apache2",
            &["-f", "FILE", "-DFOREGROUND"],
            HTTPD,
        ),
    ];
    let present = all
        .into_iter()
        .filter(|(_, program, ..)| Path::new(program).is_file());
    present
        .map(|(name, program, arguments, configuration)| Proxy {
            name,
            program: program.to_owned(),
            arguments,
            configuration: configuration.to_owned(),
        })
        .collect()
}

impl Proxy {
    /// The same with `rules` in httpd's or nginx's language, in front of what proxies; `None` for other languages.
    pub(crate) fn with_rules(mut self, httpd: &str, nginx: &str) -> Option<Self> {
        let (before, rules) = match self.name {
            "relais" | "httpd" => ("ProxyPass /ws", httpd),
            "nginx" => ("location / {", nginx),
            _ => return None,
        };
        let (head, tail) = self.configuration.split_once(before)?;
        self.configuration = format!("{head}{rules}\n{before}{tail}");
        Some(self)
    }
}

/// A proxy that accepts connections; it is stopped when this is dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Running {
    /// Starts the proxy in front of `origin` with its files in `folder`.
    pub(crate) fn start(proxy: &Proxy, origin: SocketAddr, folder: &Path) -> io::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let dir = folder.display().to_string();
        let fill = |text: &str| {
            let text = text
                .replace("LISTEN", &address.to_string())
                .replace("ORIGIN", &origin.to_string());
            text.replace("DIR", &dir)
        };
        let file = folder.join(format!("{}.conf", proxy.name));
        fs::write(&file, fill(&proxy.configuration))?;
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", "0", &proxy.program])
            .process_group(0)
            .stdin(Stdio::null());
        command.args(
            proxy
                .arguments
                .iter()
                .map(|word| fill(word).replace("FILE", &file.to_string_lossy())),
        );
        let log = fs::File::create(folder.join(format!("{}.out", proxy.name)))?;
        let child = command.stdout(log.try_clone()?).stderr(log).spawn()?;
        let running = Self { address, child };
        running.wait(proxy, folder)?;
        Ok(running)
    }

    fn wait(&self, proxy: &Proxy, folder: &Path) -> io::Result<()> {
        for _ in 0..500 {
            if TcpStream::connect(self.address).is_ok() {
                // httpd goes on starting processes after the first one accepts.
                std::thread::sleep(Duration::from_millis(300));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let said = fs::read_to_string(folder.join(format!("{}.out", proxy.name)));
        Err(io::Error::other(format!(
            "{} does not accept connections: {}",
            proxy.name,
            said.unwrap_or_default().trim()
        )))
    }

    /// Microseconds of processor time of the proxy for each of `count` operations that `work` does.
    pub(crate) fn cpu_of(
        &self,
        count: usize,
        work: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<f64> {
        let before = process::cpu_us(self.child.id());
        work()?;
        Ok((process::cpu_us(self.child.id()) - before) / count as f64)
    }

    /// Anonymous memory of the proxy's processes in KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        process::memory_kib(self.child.id())
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

const HTTPD: &str = "\
ServerRoot DIR
PidFile DIR/pid
ErrorLog DIR/error.log
LogLevel error
Listen LISTEN
ServerName bench.example
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
ThreadLimit 1000
ThreadsPerChild 1000
ServerLimit 5
StartServers 5
MaxRequestWorkers 5000
MinSpareThreads 1
MaxSpareThreads 20000
MaxKeepAliveRequests 0
Timeout 300
ProxyPass /ws ws://ORIGIN/ws
ProxyPass / http://ORIGIN/
";

const NGINX: &str = "\
daemon off;
worker_processes 1;
pid DIR/nginx.pid;
error_log DIR/nginx.log crit;
events { worker_connections 20000; }
http {
  access_log off;
  keepalive_requests 1000000000;
  proxy_read_timeout 300s;
  client_body_temp_path DIR/nginx-body;
  proxy_temp_path DIR/nginx-proxy;
  fastcgi_temp_path DIR/nginx-fastcgi;
  uwsgi_temp_path DIR/nginx-uwsgi;
  scgi_temp_path DIR/nginx-scgi;
  upstream origin { server ORIGIN; keepalive 64; keepalive_requests 1000000000; }
  server {
    listen LISTEN;
    proxy_http_version 1.1;
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    location / { proxy_pass http://origin; proxy_set_header Connection \"\"; proxy_set_header Host $host; }
    location /ws {
      proxy_pass http://origin;
      proxy_set_header Host $host;
      proxy_set_header Connection upgrade;
      proxy_set_header Upgrade $http_upgrade;
    }
  }
}
";

const HAPROXY: &str = "\
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  option forwardfor
  timeout client 300s
  timeout server 300s
  timeout connect 5s
  timeout tunnel 300s
  http-reuse always
frontend in
  bind LISTEN
  default_backend origin
backend origin
  server one ORIGIN
";
