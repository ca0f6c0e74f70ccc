//! What a Service does for replicas: each connection goes to one of them that is ready, to another one if
//! that is away.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "this is how a test fails")]

use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};

/// Lives as long as the process.
pub(crate) struct Balancer {
    pub(crate) port: u16,
}

impl Balancer {
    /// In front of these ports of this machine.
    pub(crate) fn before(ports: Vec<u16>, is_ready: impl Fn(u16) -> bool + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (number, client) in listener.incoming().flatten().enumerate() {
                let all = ports.iter().cycle().skip(number % ports.len());
                let mut all = all.take(ports.len()).filter(|it| is_ready(**it));
                let connect = |port: &u16| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).ok();
                if let Some(server) = all.find_map(connect) {
                    pass(&client, &server);
                    pass(&server, &client);
                }
            }
        });
        Self { port }
    }
}

fn pass(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
