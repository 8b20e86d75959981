use http_body_util::BodyExt as _;

use super::*;

const PREFIX: &str = "/api/v1/namespaces/n/services/http:s:80/proxy";

fn place() -> Place<'static> {
    Place {
        prefix: PREFIX,
        backend: "10.0.0.1:8080",
        host: "localhost:8001",
    }
}

#[test]
fn urls() {
    let through = |rest: &str| Some(format!("{PREFIX}{rest}"));
    let cases = [
        ("/a", through("/a")),
        ("/", through("/")),
        ("/a/b/?q=1#f", through("/a/b/?q=1#f")),
        ("/a//b/../c%20d/", through("/a/c%20d/")),
        ("http://10.0.0.1:8080/a", through("/a")),
        ("//10.0.0.1:8080/a?b", through("/a?b")),
        (
            "https://localhost:8001/a",
            Some(format!("https://localhost:8001{PREFIX}/a")),
        ),
        ("a/b", None),
        ("", None),
        ("#top", None),
        ("?q=/a", None),
        ("mailto:a@b.c", None),
        ("javascript:void(0)", None),
        ("http://example.com/a", None),
        ("http://10.0.0.1:8080", None),
        ("/api/v1/namespaces/n/services/http:s:80/proxy/a", None),
    ];
    for (url, wanted) in cases {
        assert_eq!(place().rewrite(url), wanted, "{url}");
    }
}

#[test]
fn pages() {
    let cases = [
        (
            r#"<a href="/rewriteme">test</a>"#,
            format!(r#"<a href="{PREFIX}/rewriteme">test</a>"#),
        ),
        ("<A HREF=/x>y</A>", format!("<A HREF={PREFIX}/x>y</A>")),
        (
            "<img alt='/x' src='/x?a=1&amp;b=2'>",
            format!("<img alt='/x' src='{PREFIX}/x?a=1&amp;b=2'>"),
        ),
        (
            "<p title=\"&eacute;\">\r\n<link rel=a\r\n href=\"/s\"/>",
            format!("<p title=\"&eacute;\">\r\n<link rel=a\r\n href=\"{PREFIX}/s\"/>"),
        ),
        ("<a href=&#47;x&#32;y>", format!("<a href={PREFIX}/x&#32;y>")),
        (
            "<video poster=/p src=/v>",
            format!("<video poster={PREFIX}/p src={PREFIX}/v>"),
        ),
        // Markup in scripts and comments is none, and a path elsewhere is no link.
        (
            "<script src=/j>s = '<a href=\"/x\">'</script>",
            format!("<script src={PREFIX}/j>s = '<a href=\"/x\">'</script>"),
        ),
        (
            "<!-- <a href=\"/x\"> --><div href=\"/x\">/x",
            "<!-- <a href=\"/x\"> --><div href=\"/x\">/x".to_owned(),
        ),
        ("<a href=\"/x", "<a href=\"/x".to_owned()),
    ];
    for (html, wanted) in cases {
        let got = place().page(html.as_bytes());
        assert_eq!(String::from_utf8_lossy(&got), wanted, "{html}");
    }
    let broken = b"\xff<a href=\"/\xfe\">\xff";
    assert_eq!(place().page(broken), broken);
}

#[tokio::test]
async fn answers() {
    let page = b"<a href=\"/x\">";
    let wanted = format!("<a href=\"{PREFIX}/x\">").into_bytes();
    let mut gzip = write::GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(page).unwrap();
    let mut deflate = write::DeflateEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(page).unwrap();
    let (gzip, deflate) = (gzip.finish().unwrap(), deflate.finish().unwrap());
    let html = "text/html; charset=utf-8";
    let cases: [(&str, &str, Vec<u8>, bool); 6] = [
        (html, "", page.to_vec(), true),
        (html, "gzip", gzip, true),
        (html, "deflate", deflate, true),
        (html, "br", page.to_vec(), false),
        (html, "gzip", page.to_vec(), false),
        ("application/json", "", page.to_vec(), false),
    ];
    for (kind, encoding, body, changed) in cases {
        let mut response = Response::new(Body::from(body.clone()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        if !encoding.is_empty() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        let response = rewritten(response, &place()).await;
        assert_eq!(response.headers().contains_key(header::CONTENT_LENGTH), !changed);
        let got = response.into_body().collect().await.unwrap().to_bytes();
        if changed {
            let packing = Packing::named(encoding).unwrap();
            let mut plain = Vec::new();
            packing
                .apply(&got, |page| {
                    plain = page.to_vec();
                    Vec::new()
                })
                .unwrap();
            assert_eq!(plain, wanted, "{encoding}");
        } else {
            assert_eq!(got, body, "{kind} {encoding}");
        }
    }
}

#[tokio::test]
async fn redirects() {
    for (location, wanted) in [("/x", format!("{PREFIX}/x")), ("y", "y".to_owned())] {
        let mut response = Response::new(Body::empty());
        response
            .headers_mut()
            .insert(header::LOCATION, HeaderValue::from_static(location));
        let response = rewritten(response, &place()).await;
        assert_eq!(response.headers()[header::LOCATION], wanted.as_str());
    }
}

/// What is larger than is rewritten arrives whole.
#[tokio::test]
async fn large_pages_pass() {
    let chunk = Bytes::from(vec![b'x'; 1024 * 1024]);
    let count = MAX_PAGE / chunk.len() + 3;
    let chunks = (0..count).map(|_| Ok::<_, Infallible>(chunk.clone()));
    let mut response = Response::new(Body::from_stream(futures::stream::iter(
        chunks.collect::<Vec<_>>(),
    )));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    let response = rewritten(response, &place()).await;
    let got = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(got.len(), count * chunk.len());
}
