//! A client that speaks the protocol frame by frame.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fixture::{Running, Tenant, World};

/// A client that speaks frames by hand.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn open(world: &World, guard: &Running, tenant: &Tenant) -> Self {
        let database = world.database.to_string();
        Self::connect(guard.port, tenant.id.as_str(), &database, &world.token(tenant)).await
    }

    pub(crate) async fn connect(port: u16, tenant: &str, database: &str, token: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        Self::over(stream, tenant, database, token).await
    }

    /// On a connection that is there already.
    pub(crate) async fn over(mut stream: TcpStream, tenant: &str, database: &str, token: &str) -> Self {
        let pairs = format!("user\0{tenant}\0database\0{database}\0\0");
        let body = [&[0, 3, 0, 0], pairs.as_bytes()].concat();
        let head = i32::try_from(body.len() + 4).unwrap().to_be_bytes();
        stream.write_all(&[&head[..], &body].concat()).await.unwrap();
        let mut raw = Self(stream);
        raw.send(&[frame(b'p', format!("{token}\0").as_bytes())]).await;
        raw.until(b'Z').await;
        raw
    }

    pub(crate) async fn send(&mut self, frames: &[Vec<u8>]) {
        self.0.write_all(&frames.concat()).await.unwrap();
    }

    /// Types and bodies up to and with the next message of this type.
    pub(crate) async fn until(&mut self, last: u8) -> Vec<(u8, Vec<u8>)> {
        let mut seen = vec![];
        loop {
            let tag = self.0.read_u8().await.unwrap();
            let len = usize::try_from(self.0.read_i32().await.unwrap()).unwrap() - 4;
            let mut body = vec![0; len];
            self.0.read_exact(&mut body).await.unwrap();
            seen.push((tag, body));
            if tag == last {
                return seen;
            }
        }
    }

    /// Only the types.
    pub(crate) async fn tags(&mut self, last: u8) -> String {
        self.until(last).await.into_iter().map(|(tag, _)| char::from(tag)).collect()
    }
}

pub(crate) fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &i32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    frame(b'Q', format!("{sql}\0").as_bytes())
}

pub(crate) fn parse(sql: &str) -> Vec<u8> {
    frame(b'P', format!("\0{sql}\0\0\0").as_bytes())
}

pub(crate) fn bind() -> Vec<u8> {
    frame(b'B', &[0; 8])
}

pub(crate) fn execute() -> Vec<u8> {
    frame(b'E', &[0; 5])
}

pub(crate) fn sync() -> Vec<u8> {
    frame(b'S', &[])
}

pub(crate) fn flush() -> Vec<u8> {
    frame(b'H', &[])
}
