//! Starts the chat server as a program of its own and talks to it through real sockets.
//!
//! Nothing here sleeps. A test waits for a line, and the time a socket may wait for one is only
//! a bound for failing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::build::build;

/// How long a line may take that must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program.
static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| build("chat_server"));

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(&*PROGRAM)
        .args(arguments)
        .output()
        .expect("the program can be run")
}

/// A running server. Dropped, it is killed.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(&*PROGRAM);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(command)
    }

    /// Starts a server whose errors are for [`wait_with_errors`](Self::wait_with_errors).
    pub(crate) fn start_with_errors_kept(arguments: &[&str]) -> Self {
        let mut command = Command::new(&*PROGRAM);
        command
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            // Nobody reads them before the end, so they have to be short.
            .env("RUST_BACKTRACE", "0")
            .stderr(Stdio::piped());
        Self::spawn(command)
    }

    /// Starts a server that may have `count` files and sockets open.
    pub(crate) fn start_with_descriptors(count: usize, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {count} && exec \"$@\""))
            .arg("sh")
            .arg(&*PROGRAM)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stderr(Stdio::null());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be run");
        let mut stdout = BufReader::new(child.stdout.take().expect("the output is piped"));
        let mut line = String::new();
        stdout
            .read_line(&mut line)
            .expect("the server says where it listens");
        let address = line
            .trim_end()
            .strip_prefix("listening on ")
            .and_then(|address| address.parse().ok())
            .unwrap_or_else(|| panic!("the server says {line:?}"));
        Self {
            child,
            stdout,
            address,
        }
    }

    /// Asks the server to end.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .expect("kill can be run");
        assert!(status.success());
    }

    /// As [`wait`](Self::wait), and returns besides what was printed to standard error.
    pub(crate) fn wait_with_errors(mut self) -> (ExitStatus, String, String) {
        let stderr = self.child.stderr.take();
        let (status, output) = self.wait();
        let mut errors = String::new();
        stderr
            .expect("the errors are kept")
            .read_to_string(&mut errors)
            .expect("the errors are UTF-8");
        (status, output, errors)
    }

    /// Waits for the end. Returns the status and what was printed since the start.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let mut output = String::new();
        self.stdout
            .read_to_string(&mut output)
            .expect("the output is UTF-8");
        let status = self.child.wait().expect("the server was started here");
        (status, output)
    }

    /// Ends the server and checks that it did so in order.
    pub(crate) fn end_in_order(self) {
        self.terminate();
        let (status, output) = self.wait();
        assert_eq!(status.code(), Some(0), "{output}");
        assert_balanced(&output);
    }

    pub(crate) fn connect(&self) -> Client {
        Client::new(TcpStream::connect(self.address).expect("the server accepts"))
    }

    /// A client that is connected and registered.
    pub(crate) fn client(&self, nick: &str) -> Client {
        let mut client = self.connect();
        client.register(nick);
        client
    }

    /// The same with the smallest buffer for what it has not read yet.
    pub(crate) fn client_with_small_buffer(&self, nick: &str) -> Client {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket is free");
        socket
            .set_recv_buffer_size(2048)
            .expect("the size can be set");
        socket
            .connect(&self.address.into())
            .expect("the server accepts");
        let mut client = Client::new(socket.into());
        client.register(nick);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the server has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks the line that says where all messages went.
pub(crate) fn assert_balanced(output: &str) {
    let line = output
        .lines()
        .find_map(|line| line.strip_prefix("messages: accepted "))
        .unwrap_or_else(|| panic!("no counts in {output:?}"));
    let counts: Vec<u64> = line
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    assert_eq!(counts.len(), 6, "{line}");
    assert_eq!(counts[0], counts[1..].iter().sum::<u64>(), "{line}");
    assert!(counts[1] > 0, "{line}");
}

/// A line as a client reads it. Parsed here anew, so that the server's own parser does not judge
/// the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The nick of the sender, or the name of the server, or nothing.
    pub(crate) from: String,
    pub(crate) command: String,
    pub(crate) params: Vec<String>,
}

impl Line {
    fn parse(text: &str) -> Self {
        let (source, rest) = match text.strip_prefix(':') {
            Some(rest) => rest.split_once(' ').expect("a command follows the source"),
            None => ("", text),
        };
        let (middle, last) = match rest.split_once(" :") {
            Some((middle, last)) => (middle, Some(last.to_owned())),
            None => (rest, None),
        };
        let mut words = middle.split(' ').map(str::to_owned);
        Self {
            from: source.split('!').next().unwrap_or_default().to_owned(),
            command: words.next().expect("a line has a command"),
            params: words.chain(last).collect(),
        }
    }

    pub(crate) fn is(&self, command: &str) -> bool {
        self.command == command
    }

    /// The last parameter.
    pub(crate) fn text(&self) -> &str {
        self.params.last().map_or("", String::as_str)
    }

    /// The line in short, for comparing: sender, command and parameters.
    pub(crate) fn brief(&self) -> String {
        format!("{} {} {}", self.from, self.command, self.params.join(" "))
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    pub(crate) nick: String,
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        stream
            .set_write_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        stream.set_nodelay(true).expect("the socket is open");
        let reader = BufReader::new(stream.try_clone().expect("a descriptor is free"));
        Self {
            stream,
            reader,
            nick: String::new(),
        }
    }

    /// Another handle to the same connection, for a thread that only writes.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("a descriptor is free")
    }

    pub(crate) fn register(&mut self, nick: &str) {
        nick.clone_into(&mut self.nick);
        self.send(&format!("NICK {nick}"));
        self.send(&format!("USER {nick} 0 * :The real {nick}"));
        let lines = self.until(|line| line.is("422") || line.is("376") || line.is("ERROR"));
        assert!(lines.iter().any(|line| line.is("001")), "{lines:?}");
    }

    pub(crate) fn join(&mut self, room: &str) {
        self.send(&format!("JOIN {room}"));
        self.until(|line| line.is("366") && line.params[1] == room);
    }

    pub(crate) fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\r\n").as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// The next line, or nothing at the end of the connection.
    pub(crate) fn try_line(&mut self) -> io::Result<Option<Line>> {
        let mut text = String::new();
        if self.reader.read_line(&mut text)? == 0 {
            return Ok(None);
        }
        assert!(text.len() <= 512, "too long: {text:?}");
        let text = text
            .strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("no line end: {text:?}"));
        Ok(Some(Line::parse(text)))
    }

    pub(crate) fn line(&mut self) -> Line {
        match self.try_line() {
            Ok(Some(line)) => line,
            other => panic!("{} waits for a line and gets {other:?}", self.nick),
        }
    }

    /// All lines up to the first one that is wanted.
    pub(crate) fn until(&mut self, is_wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let is_last = is_wanted(&line);
            lines.push(line);
            if is_last {
                return lines;
            }
        }
    }

    /// Everything that arrives before the server has handled what this client sent before.
    pub(crate) fn drain(&mut self) -> Vec<Line> {
        self.send("PING :are you there");
        let mut lines = self.until(|line| line.is("PONG") && line.text() == "are you there");
        lines.pop();
        lines
    }

    /// Sends a line and returns in short what comes back.
    pub(crate) fn ask(&mut self, line: &str) -> Vec<String> {
        self.send(line);
        self.drain().iter().map(Line::brief).collect()
    }

    /// All lines up to the end of the connection, which must come. A reset is an end too.
    pub(crate) fn rest(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        loop {
            match self.try_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => return lines,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return lines,
                Err(e) => panic!("{} waits for the end and gets {e}", self.nick),
            }
        }
    }

    /// Sends nothing more, but goes on reading.
    pub(crate) fn close_half(&self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("the socket is open");
    }

    /// Closes the connection also for a thread that is writing to it.
    pub(crate) fn abandon(self) {
        // It fails if the server was faster, which is as well.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Breaks the connection instead of closing it.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("the socket is open");
    }
}
