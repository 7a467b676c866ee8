//! The PROXY protocol: the client's address in front of what it sends, as a
//! load balancer writes it (haproxy.org, proxy-protocol.txt, versions 1 and 2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What every header of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest header of version 1, its line end included.
const V1_MAX: usize = 107;

/// The longest header of version 2 that is read; extensions take up to 64 KiB,
/// and are a few hundred bytes in fact.
const V2_MAX: usize = 4096;

/// Reads the header and not a byte more. The answer is the client, or `None`
/// where the balancer speaks for itself (`LOCAL`).
///
/// # Errors
/// `InvalidData` when there is none or it names no client, as for `UNKNOWN`,
/// and the stream's own.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [_, _, high, low] = fixed;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_MAX {
            return Err(invalid("its header is too long"));
        }
        let mut rest = vec![0; length];
        stream.read_exact(&mut rest).await?;
        return version_2(fixed, &rest);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(invalid("there is no header"));
    }
    version_1(&read_line(stream, start.to_vec()).await?).map(Some)
}

/// Reads to the end of a line; what is behind it stays in the socket.
async fn read_line(stream: &mut TcpStream, mut line: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut seen = [0; V1_MAX];
    while line.last() != Some(&b'\n') {
        let room = V1_MAX - line.len();
        let count = stream.peek(&mut seen[..room]).await?;
        if count == 0 {
            return Err(invalid("its line does not end"));
        }
        let end = seen[..count].iter().position(|&byte| byte == b'\n');
        let take = end.map_or(count, |at| at + 1);
        let from = line.len();
        line.resize(from + take, 0);
        stream.read_exact(&mut line[from..]).await?;
    }
    Ok(line)
}

/// `PROXY TCP4 source destination port port`.
fn version_1(line: &[u8]) -> io::Result<SocketAddr> {
    let text = std::str::from_utf8(line).ok();
    let text = text.and_then(|text| text.strip_suffix("\r\n"));
    let words: Vec<&str> = text.unwrap_or_default().split(' ').collect();
    let [_, family, source, destination, port, other] = words.as_slice() else {
        return Err(invalid("its line has not six parts"));
    };
    let ends: Option<(IpAddr, IpAddr)> = match *family {
        "TCP4" => v4(source).zip(v4(destination)),
        "TCP6" => v6(source).zip(v6(destination)),
        _ => None,
    };
    let ports = port.parse::<u16>().ok().zip(other.parse::<u16>().ok());
    match (ends, ports) {
        (Some((ip, _)), Some((port, _))) => Ok(SocketAddr::new(ip.to_canonical(), port)),
        _ => Err(invalid("its line names no client")),
    }
}

fn v4(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv4Addr>().ok().map(IpAddr::from)
}

fn v6(text: &str) -> Option<IpAddr> {
    text.parse::<Ipv6Addr>().ok().map(IpAddr::from)
}

/// The four bytes behind the signature, and what they announce.
fn version_2([version, family, ..]: [u8; 4], rest: &[u8]) -> io::Result<Option<SocketAddr>> {
    match (version, family) {
        (0x20, _) => Ok(None),
        (0x21, 0x11) => {
            let [a, b, c, d, _, _, _, _, high, low, ..] = *rest else {
                return Err(invalid("its addresses are cut off"));
            };
            let ip = IpAddr::from([a, b, c, d]);
            Ok(Some(SocketAddr::new(ip, u16::from_be_bytes([high, low]))))
        }
        (0x21, 0x21) => {
            let source: Option<[u8; 16]> = rest.get(..16).and_then(|bytes| bytes.try_into().ok());
            let port: Option<[u8; 2]> = rest.get(32..34).and_then(|bytes| bytes.try_into().ok());
            let (Some(source), Some(port)) = (source, port) else {
                return Err(invalid("its addresses are cut off"));
            };
            let ip = IpAddr::from(source).to_canonical();
            Ok(Some(SocketAddr::new(ip, u16::from_be_bytes(port))))
        }
        _ => Err(invalid("it is of a kind that names no client over TCP")),
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let table: &[(&str, Option<&str>)] = &[
            (
                "PROXY TCP4 192.0.2.1 10.0.0.1 4000 80\r\n",
                Some("192.0.2.1:4000"),
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 4000 80\r\n",
                Some("[2001:db8::1]:4000"),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 80\r\n",
                Some("192.0.2.1:1"),
            ),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 4000 80\n", None),
            ("PROXY TCP4 2001:db8::1 10.0.0.1 4000 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1 70000 80\r\n", None),
            ("PROXY TCP4 192.0.2.1 10.0.0.1  4000 80\r\n", None),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY \r\n", None),
        ];
        for (line, expected) in table {
            let found = version_1(line.as_bytes()).ok();
            assert_eq!(found, expected.map(|text| text.parse().unwrap()), "{line}");
        }
    }

    #[test]
    fn binary_headers() {
        let v4 = [192, 0, 2, 1, 10, 0, 0, 1, 0x0f, 0xa0, 0, 80];
        let client = Some("192.0.2.1:4000".parse().unwrap());
        assert_eq!(version_2([0x21, 0x11, 0, 12], &v4).unwrap(), client);
        assert_eq!(version_2([0x20, 0, 0, 0], &[]).unwrap(), None);
        assert!(version_2([0x21, 0x11, 0, 11], &v4[..9]).is_err());
        assert!(
            version_2([0x21, 0x31, 0, 12], &v4).is_err(),
            "a Unix socket"
        );
        assert!(
            version_2([0x11, 0x11, 0, 12], &v4).is_err(),
            "another version"
        );
        let mut v6 = [0; 36];
        v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        v6[15] = 1;
        v6[33] = 7;
        let client = Some("[2001:db8::1]:7".parse().unwrap());
        assert_eq!(version_2([0x21, 0x21, 0, 36], &v6).unwrap(), client);
        assert!(version_2([0x21, 0x21, 0, 33], &v6[..33]).is_err());
    }
}
