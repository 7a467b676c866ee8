//! A client's first message, read before it is known which host answers it.

use rustls::Error;
use rustls::server::Acceptor;

/// Reads a ClientHello for the name in it (RFC 6066 §3). rustls reads the same
/// bytes again afterwards with the configuration of that host.
#[derive(Default)]
pub struct Hello(Acceptor);

/// The first message of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientName {
    /// The host that it wants, lower case; `None` if it names none.
    pub name: Option<String>,
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
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok(Some(ClientName {
                        name: name.map(|name| name.to_ascii_lowercase()),
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
