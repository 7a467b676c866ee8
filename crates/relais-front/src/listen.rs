//! Listening sockets: one per worker thread and address, so that the kernel
//! spreads connections and no thread waits for another.

use std::io;
use std::net::{SocketAddr, TcpListener};

use relais_policy::ListenerSpec;
use socket2::{Domain, Protocol, Socket, Type};

/// `ListenBacklog` without the directive, as in httpd.
pub const BACKLOG: u32 = 511;

/// Binds `count` sockets to one address.
///
/// # Errors
/// When the address is taken, or may not be used.
pub fn bind(spec: ListenerSpec, count: usize, backlog: u32) -> io::Result<Vec<TcpListener>> {
    // Another program that shares its port too would take half of the
    // connections without a word: a first socket without the option finds out.
    drop(open(spec.address, false)?);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = open(spec.address, true)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `Listen 80` means both families, an IPv6 address only its own.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // Small answers must not wait for an acknowledgement. On Linux accepted
    // connections have it from their listener.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_share_an_address_with_each_other_only() {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let spec = ListenerSpec { address: free };
        let sockets = bind(spec, 3, BACKLOG).unwrap();
        assert!(
            sockets
                .iter()
                .all(|socket| socket.local_addr().unwrap() == free)
        );
        assert_eq!(
            bind(spec, 1, BACKLOG).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
