//! The libraries' functions.

use std::sync::Mutex;

use serde_json::json;

use super::{eval, failures, table};
use crate::{Answer, Authorizer, Program, Question, Value, Vars, authz::Authz, request};

#[test]
fn strings() {
    table(&[
        ("'tacocat'.charAt(3)", json!("o")),
        ("'hello mellow'.indexOf('ello')", json!(1)),
        ("'hello mellow'.indexOf('ello', 2)", json!(7)),
        ("'hello mellow'.lastIndexOf('ello')", json!(7)),
        ("'hello mellow'.lastIndexOf('ello', 6)", json!(1)),
        ("'TacoCat'.lowerAscii() + 'x'.upperAscii()", json!("tacocatX")),
        ("'hello hello'.replace('he', 'we', 1)", json!("wello hello")),
        ("'a,b,c'.split(',', 2)", json!(["a", "b,c"])),
        ("'abc'.split('')", json!(["a", "b", "c"])),
        ("'tacocat'.substring(0, 4)", json!("taco")),
        ("'  x\\t'.trim()", json!("x")),
        ("['a', 'b'].join('-')", json!("a-b")),
        ("strings.quote('a\"b')", json!("\"a\\\"b\"")),
        (
            "'%s is %d, %.2f, %x'.format([dyn('a'), 5, 1.239, 255])",
            json!("a is 5, 1.24, ff"),
        ),
        ("'%s %%'.format([{'k': [1, 2]}])", json!("{k: [1, 2]} %")),
        ("'foobar'.matches('o+b')", json!(true)),
        ("'abc 123'.find('[0-9]+')", json!("123")),
        ("'1 2 3'.findAll('[0-9]', 2)", json!(["1", "2"])),
    ]);
    failures(&[
        ("'abc'.substring(4)", "index out of range: 4"),
        (
            "'%d'.format(['x'])",
            "error during formatting: decimal clause can only be used on integers",
        ),
        ("b.find(b + '[')", "Illegal regex"),
    ]);
}

#[test]
fn lists_and_sets() {
    table(&[
        ("[1, 2, 2].isSorted()", json!(true)),
        ("['b', 'a'].isSorted()", json!(false)),
        ("[1, 2, 3].sum() + [4, 9].max() - [4, 9].min()", json!(11)),
        ("[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1)", json!(2)),
        ("sets.contains([1, 2], [2])", json!(true)),
        ("sets.equivalent([1, 2, 2], [2, 1])", json!(true)),
        ("sets.intersects([1], [2])", json!(false)),
    ]);
    failures(&[("names.filter(n, false).max()", "max called on empty list")]);
}

#[test]
fn the_lists_extension() {
    table(&[
        ("[1, 2, 3, 4].slice(1, 3)", json!([2, 3])),
        ("[[1, 2], [3]].flatten()", json!([1, 2, 3])),
        ("[[[1]], [[2], [3]]].flatten(2)", json!([1, 2, 3])),
        ("[1, 2, 1].distinct()", json!([1, 2])),
        ("[1, 2].reverse()", json!([2, 1])),
        ("lists.range(3)", json!([0, 1, 2])),
        ("['b', 'a'].sort()", json!(["a", "b"])),
        ("['bbb', 'a', 'cc'].sortBy(s, size(s))", json!(["a", "cc", "bbb"])),
        ("self.rows.sortBy(r, -r.v)[0].k", json!("two")),
        ("[1, 2].last().value() + [5].first().value()", json!(7)),
    ]);
    failures(&[
        ("[1].slice(0, 2)", "cannot slice(0, 2), list is length 1"),
        (
            "[1].slice(1, 0)",
            "start index must be less than or equal to end index",
        ),
        (
            "'x'.sort()",
            "found no matching overload for 'sort' applied to 'string.()'",
        ),
    ]);
}

#[test]
fn urls() {
    table(&[
        (
            "url('https://user@example.com:8080/a b?k=1&k=2').getHost()",
            json!("example.com:8080"),
        ),
        ("url('https://[::1]:80/').getHostname()", json!("::1")),
        ("url('https://example.com:8080').getPort()", json!("8080")),
        (
            "url('https://example.com/a b/').getEscapedPath()",
            json!("/a%20b/"),
        ),
        (
            "url('https://e.com/?k=1&k=a%20b').getQuery()",
            json!({"k": ["1", "a b"]}),
        ),
        ("url('/path').getScheme()", json!("")),
        ("isURL('https://x') && !isURL('../x')", json!(true)),
        ("url('https://x') == url('https://x')", json!(true)),
    ]);
    failures(&[("url('nope')", "URL parse error during conversion from string")]);
}

#[test]
fn quantities() {
    table(&[
        ("quantity('1.5G').isInteger()", json!(true)),
        ("quantity('200M').compareTo(quantity('0.2G'))", json!(0)),
        ("quantity('1Gi').isGreaterThan(quantity('1G'))", json!(true)),
        ("quantity('50k').add(20).asInteger()", json!(50020)),
        (
            "quantity('50k').sub(quantity('20')) == quantity('49980')",
            json!(true),
        ),
        ("quantity('500m').asApproximateFloat()", json!(0.5)),
        ("isQuantity('1.3Gi') && !isQuantity('200K')", json!(true)),
    ]);
    failures(&[
        (
            "quantity('Three')",
            "quantities must match the regular expression",
        ),
        ("quantity('500m').asInteger()", "cannot convert value to integer"),
    ]);
}

#[test]
fn addresses() {
    table(&[
        ("ip('127.0.0.1').family() + ip('::1').family()", json!(10)),
        ("isIP('1.2.3') || isIP('::ffff:1.2.3.4')", json!(false)),
        ("ip.isCanonical('2001:db8::abcd')", json!(true)),
        ("ip.isCanonical('2001:DB8::ABCD')", json!(false)),
        (
            "ip('127.0.0.1').isLoopback() && ip('169.254.1.1').isLinkLocalUnicast()",
            json!(true),
        ),
        ("ip('192.168.0.1').isGlobalUnicast()", json!(true)),
        ("cidr('192.168.0.0/24').containsIP('192.168.0.1')", json!(true)),
        (
            "cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/25'))",
            json!(true),
        ),
        (
            "cidr('192.168.0.1/24').masked() == cidr('192.168.0.0/24')",
            json!(true),
        ),
        ("cidr('192.168.0.1/24').ip() == ip('192.168.0.1')", json!(true)),
        ("cidr('::1/128').prefixLength()", json!(128)),
        ("string(ip('10.0.0.1'))", json!("10.0.0.1")),
        ("isCIDR('10.0.0.0/33')", json!(false)),
    ]);
}

#[test]
fn formats_and_versions() {
    table(&[
        ("format.dns1123Label().validate('a-b').hasValue()", json!(false)),
        ("format.dns1123Label().validate('A').value().size()", json!(1)),
        (
            "format.named('uuid').value().validate('x').hasValue()",
            json!(true),
        ),
        ("format.named('nope').hasValue()", json!(false)),
        (
            "format.dns1123LabelPrefix().validate('a-').hasValue()",
            json!(false),
        ),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", json!(true)),
        ("semver('1.0.0-alpha').compareTo(semver('1.0.0'))", json!(-1)),
        ("isSemver('v1.2') || isSemver('01.2.3')", json!(false)),
        ("semver('v01.2', true).minor()", json!(2)),
    ]);
    assert_eq!(
        eval("semver('x')"),
        Err("No Major.Minor.Patch elements found".into())
    );
}

#[derive(Default)]
struct Recorder(Mutex<Vec<Question>>);

impl Authorizer for Recorder {
    fn authorize(&self, question: &Question) -> Answer {
        self.0.lock().unwrap().push(question.clone());
        Answer {
            allowed: question.name == "web",
            reason: "because".into(),
            error: None,
        }
    }
}

#[test]
fn the_authorizer_is_asked() {
    let program = Program::compile(
        &request::match_conditions(),
        "authorizer.serviceAccount('ns', 'sa').group('apps').resource('deployments').namespace('ns').name('web').check('update').allowed() \
         && authorizer.requestResource.check('use').reason() == 'because' && !authorizer.path('/healthz').check('get').allowed()",
    )
    .unwrap();
    let recorder = Recorder::default();
    let own = Question {
        resource: "pods".into(),
        ..Question::default()
    };
    let vars = Vars::new()
        .value("authorizer", Authz::authorizer(&recorder))
        .value(
            "authorizer.requestResource",
            Authz::request_resource(&recorder, own),
        );
    let mut budget = crate::POLICY_BUDGET;
    assert!(
        matches!(program.run(&vars, &mut budget), Err(crate::RunError::CallLimit)),
        "three checks cost too much"
    );
    let two = Program::compile(
        &request::match_conditions(),
        "authorizer.serviceAccount('ns', 'sa').group('apps').resource('deployments').name('web').check('update').allowed() && authorizer.requestResource.check('use').reason() == 'because'",
    )
    .unwrap();
    assert!(matches!(two.run(&vars, &mut budget), Ok(Value::Bool(true))));
    let asked = recorder.0.lock().unwrap();
    let question = &asked[asked.len() - 2];
    assert_eq!(question.service_account, Some(("ns".into(), "sa".into())));
    assert_eq!(
        (question.verb.as_str(), question.group.as_str()),
        ("update", "apps")
    );
    assert_eq!(asked[asked.len() - 1].resource, "pods");
}
