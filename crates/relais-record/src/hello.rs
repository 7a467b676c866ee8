//! A client's first message, read before it is known which host answers it.

use rustls::Error;
use rustls::server::Acceptor;

/// Reads a ClientHello for the name in it (RFC 6066 §3) and what the client
/// wants to speak. rustls reads the same
/// bytes again afterwards with the configuration of that host.
#[derive(Default)]
pub struct Hello(Acceptor);

/// The first message of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientName {
    /// The host that it wants, lower case; `None` if it names none.
    pub name: Option<String>,
    /// The protocols that it offers to speak (RFC 7301), the one it prefers first.
    pub alpn: Vec<Vec<u8>>,
}

impl Hello {
    /// Takes more bytes; the answer comes with the last of the message.
    ///
    /// # Errors
    /// The message is none; the bytes are the alert for the client.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<Option<ClientName>, (Error, Vec<u8>)> {
        while !bytes.is_empty() {
            if let Err(error) = self.0.read_tls(&mut bytes) {
                return Err((Error::General(error.to_string()), Vec::new()));
            }
            match self.0.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let name = hello.server_name().map(str::to_ascii_lowercase);
                    let alpn = hello.alpn().into_iter().flatten();
                    return Ok(Some(ClientName {
                        name,
                        alpn: alpn.map(<[u8]>::to_vec).collect(),
                    }));
                }
                Err((error, mut alert)) => {
                    let mut out = Vec::new();
                    // Writing to memory cannot fail.
                    let _ = alert.write_all(&mut out);
                    return Err((error, out));
                }
            }
        }
        Ok(None)
    }
}
