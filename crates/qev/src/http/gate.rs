//! What every request passes before it is answered, in this order; what does not pass is told why, and reaches nothing.
//!
//! | asked | else |
//! |---|---|
//! | is it meant for us: `Host` is an address of this connection, `localhost`, or a configured name | 421 |
//! | does it come from our page: `Origin` is the address that was asked, when a browser says one | 403 |
//! | who is it: a token or a session, but for the page's files and the two questions of health | 401 |
//! | has its body an end, within 64 KiB and 10 s | 413, 408 |
//!
//! The first two are for browsers: another site's page must not ask us through one, be it by a name of its own that leads
//! to this computer. Who comes by the Unix socket is no browser, and known by its user.

use super::access::{Access, Stranger, Visitor};
use super::problem::Problem;
use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Body as _;
use qev_record::plain;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long a body may be, and how long it may take to come.
const BODY: usize = 64 << 10;
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// What a browser is told with every answer: the page is what stands here, and nothing that stands elsewhere; nobody puts it
/// into a frame; nothing is what it does not say that it is; no other site gets it.
const SAFE: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// From where a request comes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// Over the network, at this address of ours.
    Tcp { ours: SocketAddr },
    /// Through the Unix socket; this user.
    Unix { uid: u32 },
}

/// Who stands at the gate.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    pub(crate) access: &'a Access,
    /// Configured names.
    pub(crate) hosts: &'a [String],
}

impl Gate<'_> {
    /// Lets a request through, or answers it.
    pub(crate) async fn pass<F>(&self, request: Request, peer: Peer, answer: impl FnOnce(Request) -> F) -> Response
    where
        F: Future<Output = Result<Response, Infallible>>,
    {
        let mut response = match self.admit(request, peer).await {
            Ok(request) => match answer(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
            Err(refused) => *refused,
        };
        guard(&mut response);
        response
    }

    async fn admit(&self, mut request: Request, peer: Peer) -> Result<Request, Box<Response>> {
        let refuse = |problem: Problem| Box::new(problem.into_response());
        if let Peer::Tcp { ours } = peer {
            let host = self.host(&request, ours).map_err(refuse)?;
            of_our_page(request.headers(), &host).map_err(refuse)?;
        }
        let visitor = match peer {
            Peer::Unix { uid } => Ok(Visitor::of_socket(uid)),
            Peer::Tcp { .. } => self.access.visitor(request.headers()),
        };
        match visitor {
            Ok(visitor) => drop(request.extensions_mut().insert(visitor)),
            Err(_) if is_open(&request) => {}
            Err(stranger) => return Err(Box::new(unknown(stranger))),
        }
        with_whole_body(request).await
    }

    /// What was asked for, when that is us.
    fn host(&self, request: &Request, ours: SocketAddr) -> Result<Authority, Problem> {
        let said = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        let host: Option<Authority> = said.and_then(|host| host.parse().ok());
        // An address in the request's first line counts, too, and must not be another.
        let is_same = |host: &Authority| request.uri().authority().is_none_or(|asked| asked == host);
        let host = host.filter(|host| is_same(host) && (is_here(host, ours) || self.is_configured(host)));
        host.ok_or_else(|| {
            let said = plain::name(said.unwrap_or("nothing")).to_string();
            let detail = format!(
                "this is not '{said}': ask for {ours}; if it is a name of this server, add it to hosts under [http] in the \
                 configuration"
            );
            Problem::new(StatusCode::MISDIRECTED_REQUEST, detail)
        })
    }

    fn is_configured(&self, host: &Authority) -> bool {
        let is = |name: &String| name.eq_ignore_ascii_case(host.as_str()) || name.eq_ignore_ascii_case(host.host());
        self.hosts.iter().any(is)
    }
}

/// Whether a name is that of this computer, which nobody else can give to theirs. Another port is one that is forwarded.
fn is_here(host: &Authority, ours: SocketAddr) -> bool {
    let name = host.host();
    let digits = name.trim_start_matches('[').trim_end_matches(']');
    match digits.parse::<IpAddr>() {
        Ok(address) => address == ours.ip().to_canonical() || (ours.ip().is_loopback() && address.is_loopback()),
        Err(_) => ours.ip().to_canonical().is_loopback() && name.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether a browser asks for another site's page.
fn of_our_page(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    let foreign = |whose: &str| {
        let detail = format!("this was asked from {whose}, and is for the page at {host} alone: open that");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    };
    let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(origin) = said("origin") {
        let is_ours = ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str())));
        if !is_ours {
            return foreign(&format!("'{}'", plain::name(origin)));
        }
    }
    // To follow a link is not to ask from elsewhere: whoever does sees our page.
    let is_link = said("sec-fetch-mode") == Some("navigate") && said("sec-fetch-dest") == Some("document");
    match said("sec-fetch-site") {
        Some("cross-site" | "same-site") if !is_link => foreign("another site"),
        _ => Ok(()),
    }
}

/// What needs no token: it holds no data.
fn is_open(request: &Request) -> bool {
    let path = request.uri().path();
    let is_reading = [Method::GET, Method::HEAD].contains(request.method());
    let is_file = path == "/" || path.starts_with("/assets/") || path == "/favicon.ico";
    is_reading && (is_file || ["/login", "/api/v1/health", "/api/v1/ready"].contains(&path))
}

fn unknown(stranger: Stranger) -> Response {
    let detail = match stranger {
        Stranger::NoToken => {
            "who asks is not known: open the address that 'qev page' prints, or send a token that 'qev page --token NAME' \
             made as 'Authorization: Bearer TOKEN'"
        }
        Stranger::WrongToken => {
            "this token or session is not known: it was revoked, is too old, or belongs to another daemon; 'qev page' prints \
             an address to open, 'qev page --token NAME' makes a token"
        }
    };
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"qev\""));
    response
}

/// Reads the body, which must have an end.
async fn with_whole_body(request: Request) -> Result<Request, Box<Response>> {
    if request.body().is_end_stream() {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    let refused = |status, detail: String| {
        let mut response = Problem::new(status, detail).into_response();
        // What still comes is not the next request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        Err(Box::new(response))
    };
    match tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, BODY)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, Body::from(bytes))),
        Ok(Err(_)) => refused(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is cut off, or longer than {BODY} bytes: send none"),
        ),
        Err(_) => {
            let seconds = BODY_WITHIN.as_secs();
            refused(StatusCode::REQUEST_TIMEOUT, format!("the body did not end within {seconds} s: send none"))
        }
    }
}

fn guard(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    for (name, value) in SAFE {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    // What machines said is for who asked, and for now.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::recorder::tests::Scratch;
    use proptest::prelude::*;

    fn status_at(ours: &str, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        let scratch = Scratch::new();
        let access = Access::open(&scratch.0).unwrap();
        let hosts = ["qev.example.org".to_owned(), "proxy:8443".to_owned()];
        let gate = Gate { access: &access, hosts: &hosts };
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(request) = request.body(Body::empty()) else { return 0 };
        let peer = Peer::Tcp { ours: ours.parse().unwrap() };
        let answer = |_| async { Ok(StatusCode::OK.into_response()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(gate.pass(request, peer, answer)).status().as_u16()
    }

    fn check(headers: &[(&'static str, &str)], expected: u16) {
        assert_eq!(status_at("127.0.0.1:7780", "/", headers), expected, "{headers:?}");
    }

    #[test]
    fn only_names_of_this_computer_are_meant_for_us() {
        for host in ["127.0.0.1:7780", "localhost:7780", "LOCALHOST", "[::1]:7780", "localhost:8000", "127.0.0.1"] {
            check(&[("host", host)], 200);
        }
        for host in ["qev.example.org", "qev.example.org:8443", "QEV.example.org", "proxy:8443"] {
            check(&[("host", host)], 200);
        }
        for host in [
            "evil.example",
            "proxy",
            "proxy:80",
            "192.168.1.5:7780",
            "localhost.evil.example",
            "",
            "a b",
            "localhost@x",
        ] {
            check(&[("host", host)], 421);
        }
        check(&[], 421);
        assert_eq!(status_at("192.168.1.5:7780", "/", &[("host", "192.168.1.5:7780")]), 200);
        assert_eq!(status_at("192.168.1.5:7780", "/", &[("host", "localhost:7780")]), 421);
        assert_eq!(status_at("127.0.0.1:7780", "http://evil.example/", &[("host", "localhost")]), 421);
    }

    #[test]
    fn another_sites_page_is_refused() {
        let from = |origin| [("host", "localhost:7780"), ("origin", origin)];
        check(&from("http://localhost:7780"), 200);
        for origin in ["http://evil.example", "null", "", "http://localhost:3000", "http://localhost:7780.evil.example"]
        {
            check(&from(origin), 403);
        }
        let fetch = |site, mode, dest| {
            [("host", "localhost:7780"), ("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]
        };
        check(&fetch("same-origin", "cors", "empty"), 200);
        check(&fetch("cross-site", "navigate", "document"), 200);
        check(&fetch("cross-site", "no-cors", "script"), 403);
        check(&fetch("same-site", "cors", "empty"), 403);
        check(&fetch("cross-site", "navigate", "iframe"), 403);
    }

    #[test]
    fn everything_but_the_files_and_health_wants_to_know_who_asks() {
        let at = |path| status_at("127.0.0.1:7780", path, &[("host", "localhost")]);
        for path in ["/", "/assets/app.js", "/login?token=1", "/api/v1/health", "/api/v1/ready"] {
            assert_eq!(at(path), 200, "{path}");
        }
        for path in ["/metrics", "/api/v1/events", "/api/v1/health/", "//", "/api/v1/%68ealth", "/assets", "/x"] {
            assert_eq!(at(path), 401, "{path}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_header_panics_or_opens(host in "\\PC{0,40}", origin in "\\PC{0,40}", path in "/[a-z0-9/%.]{0,20}") {
            let status = status_at("127.0.0.1:7780", &format!("/api/v1/events{path}"), &[("host", &host), ("origin", &origin)]);
            prop_assert!([0, 421, 403, 401].contains(&status));
        }
    }
}
