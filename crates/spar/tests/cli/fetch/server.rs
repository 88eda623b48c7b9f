//! A web server that misbehaves as told, on a port of this machine.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What a client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// How many requests there were before.
    pub(crate) nth: usize,
    pub(crate) path: String,
    /// N of `Range: bytes=N-`.
    pub(crate) from: Option<usize>,
    pub(crate) if_range: Option<String>,
}

/// What the client gets.
pub(crate) struct Reply {
    pub(crate) status: &'static str,
    pub(crate) headers: Vec<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

/// What follows the body.
#[derive(PartialEq)]
pub(crate) enum End {
    /// The connection is closed.
    Close,
    /// Nothing, until the client goes away.
    Silence,
    /// A byte now and then, until the client goes away.
    Drip,
    /// Bytes without end.
    Flood,
}

pub(crate) struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    /// Serves each request, on a thread of its own, what `reply` says.
    pub(crate) fn new(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (Arc::clone(&asked), Arc::new(reply));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                // A client that was killed is no failure of the server.
                thread::spawn(move || serve(&stream.unwrap(), &log, &*reply));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The first bytes asked for, one of each request.
    pub(crate) fn froms(&self) -> Vec<Option<usize>> {
        self.asked().iter().map(|asked| asked.from).collect()
    }
}

fn serve(
    mut stream: &TcpStream,
    log: &Mutex<Vec<Asked>>,
    reply: &dyn Fn(&Asked) -> Reply,
) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines
        .next()?
        .split(' ')
        .nth(1)?
        .trim_start_matches('/')
        .to_owned();
    let mut asked = Asked {
        nth: 0,
        path,
        from: None,
        if_range: None,
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_lowercase().as_str() {
            "range" => {
                let from = value.strip_prefix("bytes=")?.strip_suffix('-')?;
                asked.from = Some(from.parse().ok()?);
            }
            "if-range" => asked.if_range = Some(value.to_owned()),
            _ => {}
        }
    }
    {
        let mut log = log.lock().unwrap();
        asked.nth = log.len();
        log.push(asked.clone());
    }
    let Reply {
        status,
        headers,
        body,
        end,
    } = reply(&asked);
    let headers = headers.iter().map(|header| format!("{header}\r\n"));
    let head = headers.collect::<String>();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\n{head}\r\n"
    )
    .ok()?;
    stream.write_all(&body).ok()?;
    if end == End::Silence {
        stream.read_to_end(&mut Vec::new()).ok()?;
    }
    let more: &[u8] = match end {
        End::Drip => b"x",
        End::Flood => &[0; 1 << 16],
        End::Close | End::Silence => return Some(()),
    };
    loop {
        stream.write_all(more).ok()?;
        if end == End::Drip {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Reply {
    /// `data` from the byte asked for on, as a good server sends them.
    pub(crate) fn file(asked: &Asked, data: &[u8]) -> Self {
        match asked.from {
            Some(from) => Self {
                status: "206 Partial Content",
                headers: vec![
                    format!("Content-Length: {}", data.len() - from),
                    format!(
                        "Content-Range: bytes {from}-{}/{}",
                        data.len() - 1,
                        data.len()
                    ),
                    "ETag: \"one\"".to_owned(),
                ],
                body: data[from..].to_vec(),
                end: End::Close,
            },
            None => Self::whole(data),
        }
    }

    /// All of `data`, whatever was asked for.
    pub(crate) fn whole(data: &[u8]) -> Self {
        Self {
            status: "200 OK",
            headers: vec![
                format!("Content-Length: {}", data.len()),
                "ETag: \"one\"".to_owned(),
            ],
            body: data.to_vec(),
            end: End::Close,
        }
    }

    /// The reply, ended early.
    pub(crate) fn cut(mut self, bytes: usize, end: End) -> Self {
        self.body.truncate(bytes);
        self.end = end;
        self
    }

    /// A page that says so, with this status.
    pub(crate) fn page(status: &'static str, headers: &[&str]) -> Self {
        Self {
            status,
            headers: headers.iter().map(|&header| header.to_owned()).collect(),
            body: b"<!DOCTYPE html><html><body>Please log in.</body></html>".to_vec(),
            end: End::Close,
        }
    }
}
