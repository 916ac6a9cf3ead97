//! A real nginx in front of a daemon, with the configuration that docs/http-api.md shows: TLS outside, the page and the stream
//! through it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xtask::lab::port::Port;
use xtask::lab::process::{self, Running};
use xtask::lab::scratch::Scratch;
use xtask::programs::{CURL, NGINX, OPENSSL, output_of};
use xtask::workspace;

use crate::daemon::text;

/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(300);

const NAME: &str = "qev.example.org";

/// The block of this language in the document.
fn block(document: &str, language: &str) -> String {
    let (_, rest) = document.split_once(&format!("```{language}\n")).expect("a block");
    rest.split("```").next().unwrap().to_owned()
}

/// A daemon with the document's configuration, at this port.
fn serve(scratch: &Scratch, configuration: &str, port: u16) -> Running {
    let config = scratch.file("config.toml");
    std::fs::write(&config, format!("attach = []\n{configuration}")).unwrap();
    let mut command = process::bound_to_us(&workspace::qev_program().unwrap()).unwrap();
    command.args(["serve", "--state-dir", text(&scratch.file("state")), "--config", text(&config)]);
    command.args(["--http", &format!("127.0.0.1:{port}")]);
    Running::start(command, "qev").unwrap()
}

/// nginx with the document's server, but for ports and the places of the certificate.
fn proxy(scratch: &Scratch, server: &str, port: u16, behind: u16) -> Running {
    let (key, certificate) = (scratch.file("key.pem"), scratch.file("certificate.pem"));
    let mut command = Command::new(OPENSSL.path().unwrap());
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &format!("/CN={NAME}")]);
    command.args(["-addext", &format!("subjectAltName=DNS:{NAME}"), "-keyout", text(&key), "-out", text(&certificate)]);
    output_of(&mut command).unwrap();
    let mut server = server.to_owned();
    for (shown, here) in [
        ("listen 443 ssl", format!("listen 127.0.0.1:{port} ssl")),
        ("/etc/ssl/qev.example.org.pem", text(&certificate).to_owned()),
        ("/etc/ssl/qev.example.org.key", text(&key).to_owned()),
        ("127.0.0.1:7780", format!("127.0.0.1:{behind}")),
    ] {
        assert!(server.contains(shown), "{shown} in {server}");
        server = server.replace(shown, &here);
    }
    let folder = text(scratch.path()).to_owned();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .collect();
    let whole = format!(
        "daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{server}}}\n"
    );
    let file = scratch.file("nginx.conf");
    std::fs::write(&file, whole).unwrap();
    let mut command = process::bound_to_us(&NGINX.path().unwrap()).unwrap();
    command.args(["-e", "stderr", "-p", &folder, "-c", text(&file)]);
    Running::start(command, "nginx").unwrap()
}

/// curl, which takes the name for ours and trusts our certificate.
fn curl(scratch: &Scratch, port: u16, arguments: &[&str], path: &str) -> Command {
    let mut command = process::bound_to_us(&CURL.path().unwrap()).unwrap();
    // Whatever proxy this machine has.
    command.args(["-s", "--noproxy", "*", "--resolve", &format!("{NAME}:{port}:127.0.0.1")]);
    command.args(["--cacert", text(&scratch.file("certificate.pem"))]).args(arguments);
    command.arg(format!("https://{NAME}:{port}{path}"));
    command
}

/// Tries until a command has an output that is as it should be.
fn until(what: &str, mut command: impl FnMut() -> Command, is: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = command().output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if is(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "no {what}: {text}{}", String::from_utf8_lossy(&output.stderr));
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn qev(scratch: &Scratch, arguments: &[&str]) -> Command {
    let mut command = Command::new(workspace::qev_program().unwrap());
    command.args(arguments).args(["--state-dir", text(&scratch.file("state"))]);
    command
}

#[test]
#[ignore = "needs nginx, openssl and curl: run by cargo xtask test"]
fn behind_nginx_the_page_is_reached_over_tls() {
    let scratch = Scratch::new().unwrap();
    let document = std::fs::read_to_string(workspace::root().join("docs/http-api.md")).unwrap();
    let (reserved, reserved_behind) = (Port::reserve().unwrap(), Port::reserve().unwrap());
    let (port, behind) = (reserved.number(), reserved_behind.number());
    let _daemon = serve(&scratch, &block(&document, "toml"), behind);
    let _proxy = proxy(&scratch, &block(&document, "nginx"), port, behind);
    let at = |arguments: &'static [&'static str], path: &str| curl(&scratch, port, arguments, path);
    until("readiness", || at(&[], "/api/v1/ready"), |text| text.contains("\"ready\""));

    let address = until("address", || qev(&scratch, &["page"]), |text| text.contains("/login?token="));
    let path = address.trim().strip_prefix(&format!("http://127.0.0.1:{behind}")).unwrap().to_owned();
    let opened = output_of(&mut at(&["-i"], &path)).unwrap();
    assert!(opened.starts_with("HTTP/1.1 303 "), "{opened}");
    let cookie = opened.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie").to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; ") && cookie.trim_end().ends_with("; Secure"), "{cookie}");
    let pair = format!("Cookie: {}", cookie.split(';').next().unwrap());

    let mut command =
        curl(&scratch, port, &["-i", "-H", &pair, "-H", &format!("Origin: https://{NAME}")], "/api/v1/events");
    let events = output_of(&mut command).unwrap();
    assert!(events.starts_with("HTTP/1.1 200 ") && events.contains("qev-last: 0"), "{events}");
    let stranger = output_of(&mut at(&["-i"], "/api/v1/events")).unwrap();
    assert!(stranger.starts_with("HTTP/1.1 401 "), "{stranger}");

    // The stream comes through as it is said, not when there is much of it.
    let mut command = curl(&scratch, port, &["-N", "-H", &pair], "/api/v1/stream");
    command.stdout(Stdio::piped());
    let mut following = Running::start(command, "curl").unwrap();
    let mut lines = BufReader::new(following.child().stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "event: hello");
}
