//! Tables of expressions, each observed on httpd 2.4.71 unless it says otherwise.

use super::*;

/// A request for `/x?id=7` to `main.example`.
struct Request;

impl Lookup for Request {
    fn variable(&self, variable: &Variable, out: &mut Vec<u8>) {
        out.extend_from_slice(match variable {
            Variable::Header(name) if name.eq_ignore_ascii_case(b"x-q") => b"q'1",
            Variable::Header(name) if name.eq_ignore_ascii_case(b"host") => b"main.example",
            Variable::ResponseHeader(name) if **name == *b"X-E" => b"a1 b1",
            Variable::Env(name) | Variable::RequestEnv(name) if **name == *b"FOO" => b"bar",
            Variable::ProcessEnv(_) => b"/usr/bin",
            Variable::TimeYear => b"2026",
            Variable::Time => b"20261125123954",
            Variable::RequestScheme => b"http",
            Variable::RequestUri => b"/x",
            Variable::QueryString => b"id=7",
            Variable::RequestMethod => b"GET",
            Variable::TheRequest => b"GET /x?id=7 HTTP/1.1",
            Variable::RemoteAddr => b"127.0.0.1",
            Variable::Https => b"off",
            Variable::RequestStatus => b"200",
            _ => b"",
        });
    }

    fn file_test(&self, test: FileTest, path: &[u8]) -> bool {
        match test {
            FileTest::Directory => path == b"/etc",
            FileTest::UrlByRequest => path == b"/x",
            FileTest::Link => false,
            _ => path == b"/etc/hostname",
        }
    }

    fn file_contents(&self, path: &[u8]) -> Option<Vec<u8>> {
        (path == b"/etc/hostname").then(|| b"vm\n".to_vec())
    }

    fn file_size(&self, path: &[u8]) -> Option<u64> {
        (path == b"/etc/hostname").then_some(3)
    }
}

fn holds(text: &str) -> bool {
    let expression =
        Expression::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    expression
        .eval(&Request, &mut State::default())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn conditions_that_hold() {
    for text in [
        "10 -gt 9",
        "\"abc\" !~ /x/",
        "\"abc\" =~ /B/i",
        "\"aX\" -strcmatch \"ax\"",
        "%{HTTP:X-Q} == \"q'1\"",
        "%{req:X-Q} == %{http:x-q}",
        "\"%{tolower:ABC}\" == \"abc\"",
        "%{ENV:FOO} == \"bar\"",
        "%{env:FOO} == \"bar\"",
        "%{reqenv:FOO} == \"bar\"",
        "osenv(\"PATH\") =~ /bin/",
        "%{TIME_YEAR} -ge 2024",
        "\"%{REQUEST_SCHEME}://%{HTTP_HOST}\" == \"http://main.example\"",
        "%{THE_REQUEST} =~ m#^GET /x#",
        "'single' == \"single\"",
        "\"a\" . \"b\" == \"ab\"",
        "(1 -eq 1) && ! false",
        r"%{TIME} =~ /^\d{14}$/",
        "-U \"/x\"",
        "!-f \"/nope\"",
        "%{REMOTE_ADDR} -ipmatch \"127.0.0.1\"",
        "unbase64(\"YQ==\") == \"a\"",
        "unbase64(\"YQ\") == \"a\"",
        "\"b\" > \"aa\"",
        "\"2\" lt \"10\"",
        "\"10\" -eq 10",
        "\"a\" -eq \"a\"",
        "\"a\" =~ m,a,",
        "\"abc\" =~ m!b!",
        "true",
        "\"abc\" =~ /a(b)c/ && \"abc\" =~ /ab/ && $1 == \"b\"",
        "\"abc\" !~ /a(b)c/ || $1 == \"b\"",
        "\"abc\" =~ /a(b)c/ && \"$1\" == \"b\"",
        "%{HTTP_HOST} == \"main.example\"",
        "\"a\" -in {\"a\",\"b\"}",
        "\"b\" in {\"a\" . \"b\", \"b\"}",
        "%{REQUEST_METHOD} in {\"GET\",\"POST\"}",
        "\"\" == ''",
        "\"a%b$c}\" == \"a%b$c}\"",
        r#""\101" == "A""#,
        r#""a\qb" == "aqb""#,
        "md5(\"a\") == \"0cc175b9c0f1b6a831c399e269772661\"",
        "sha1(\"a\") == \"86f7e437faa5a7fce15d1ddcb9eaeaea377667b8\"",
        "base64(\"a\") == \"YQ==\"",
        "-R \"127.0.0.0/8\"",
        "\"a/b\" -strmatch \"a*\"",
        "\"ab\" -strmatch \"[a-c]?\"",
        "not true or true",
        "true || true && false",
        "((true) && (true))",
        "\"a\"==\"a\"&&\"b\"==\"b\"",
        "1.5 -eq 15",
        "-1 -eq -1",
        "-1 lt 0",
        "\"X\" =~ m\"x\"i",
        "%{HTTPS} == \"off\"",
        "-T \"x\"",
        "-n \"x\"",
        "-z \"\"",
        "-e \"/etc/hostname\"",
        "-d \"/etc\"",
        "tolower(\"A\") . \"b\" == \"ab\"",
        "tolower(\"A\" . \"B\") == \"ab\"",
        "toupper ( \"a\" ) == \"A\"",
        "tolower(req(\"X-Q\")) == \"q'1\"",
        "req(\"X-\" . \"Q\") == req(toupper(\"x-q\"))",
        "\"abcdefghijk\" =~ /(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)/ && $9 == \"i\"",
        "filesize(\"/etc/hostname\") -eq 3",
    ] {
        assert!(holds(text), "{text}");
    }
}

#[test]
fn conditions_that_do_not_hold() {
    for text in [
        "! (true || false)",
        "-T \"off\"",
        "-T \"No\"",
        "-T \"False\"",
        "-T \"0\"",
        "-T \"\"",
        "\"a\" == \"A\"",
        "\"10\" > \"9\"",
        "\"abc\" =~ /a(b)c/ && \"abc\" !~ /x(b)/ && $1 == \"b\"",
        r#""\x41" == "A""#,
        "unbase64(\"Y!Q==\") == \"a\"",
        "\"y\" -ipmatch \"127.0.0.0/8\"",
        "\"a/b\" -fnmatch \"a*\"",
        "\"1\" -eq 1.5",
        "!true && false",
        "-L \"/etc/hostname\"",
        "true and false",
        "\"abc\" =~ /%{HTTP_HOST}/",
    ] {
        assert!(!holds(text), "{text}");
    }
}

#[test]
fn texts() {
    let mut state = State::default();
    state.set_groups(b"main", {
        let mut captures = Captures::default();
        captures.set(1, Some((0, 2)));
        captures
    });
    for (text, expected) in [
        (
            "%{tolower:%{HTTP_HOST}} %{resp:X-E} %{REQUEST_STATUS}",
            "main.example a1 b1 200",
        ),
        ("no %{REQUEST_URI}", "no /x"),
        ("%{unescape:a%20b%2fc}", "a b%2fc"),
        ("[%{unescape:a%00b}%{unescape:a%zzb}]", "[]"),
        (r"%{ldap:a*b(c)\\d}", r"a\2ab\28c\29\5cd"),
        ("%{tolower:ABC%{HTTP_HOST}}", "abcmain.example"),
        ("a\"b'c", "a\"b'c"),
        (r#"a\"b\n"#, "a\"b\n"),
        ("$0x$1.$1", "xma.ma"),
        ("100% $ } %", "100% $ } %"),
        (r"x%{HTTP:a\}b}y", "xy"),
        ("x%{req:X-$1}y", "xy"),
        ("%{file:/etc/hostname}%{file:/nope}", "vm\n"),
        ("", ""),
    ] {
        let mut out = b"<".to_vec();
        StringExpression::parse(text.as_bytes())
            .unwrap_or_else(|error| panic!("{text}: {error:?}"))
            .eval(&Request, &mut state, &mut out);
        assert_eq!(
            String::from_utf8_lossy(&out),
            format!("<{expected}"),
            "{text}"
        );
    }
}

#[test]
fn a_text_without_variables_is_known_beforehand() {
    let literal = |text: &[u8]| {
        StringExpression::parse(text)
            .unwrap()
            .as_literal()
            .map(<[u8]>::to_vec)
    };
    assert_eq!(literal(b"a\\tb"), Some(b"a\tb".to_vec()));
    assert_eq!(literal(b"%{HTTPS}"), None);
}

#[test]
fn headers_looked_at_are_reported_once() {
    let mut state = State::default();
    let text = b"%{HTTP:X-Q} == 'a' || req('x-q') == 'b' || -n req_novary('X-N') \
                 || %{HTTP_HOST} == 'c' || %{HTTP_ACCEPT} == '' || %{HTTP:Never} == 'x'";
    let expression = Expression::parse(text).unwrap();
    assert_eq!(expression.eval(&Request, &mut state), Ok(true));
    let read: Vec<&[u8]> = state.headers_read().collect();
    assert_eq!(read, [&b"X-Q"[..], b"Accept"]);
    state.reset();
    assert_eq!(state.headers_read().count(), 0);
}

#[test]
fn a_pattern_that_runs_away_is_an_error() {
    let text = format!("'{}!' =~ /^(a|aa)+$/", "a".repeat(60));
    let expression = Expression::parse(text.as_bytes()).unwrap();
    assert_eq!(
        expression.eval(&Request, &mut State::default()),
        Err(EvalError::Limit)
    );
}

#[test]
fn errors_point_at_bytes() {
    let end = "syntax error, unexpected end of the expression, expecting";
    for (text, range, message) in [
        ("", 0..0, format!("{end} a word")),
        ("1", 1..1, format!("{end} a comparison operator")),
        ("\"1\"", 3..3, format!("{end} a comparison operator")),
        (
            "TRUE",
            0..4,
            format!("{end} `(` behind `TRUE`: text has to be quoted"),
        ),
        (
            "-n %{NOPE}",
            5..9,
            "Variable 'NOPE' does not exist".to_owned(),
        ),
        (
            "%{SERVER_ADDR} == ''",
            2..13,
            "Variable 'SERVER_ADDR' does not exist".to_owned(),
        ),
        (
            "%{nope:x} == ''",
            2..6,
            "Function 'nope' does not exist".to_owned(),
        ),
        (
            "nope('x') == ''",
            0..4,
            "Function 'nope' does not exist".to_owned(),
        ),
        (
            "-q 'x'",
            0..2,
            "Unary operator '-q' does not exist".to_owned(),
        ),
        (
            "'a' -qq 'b'",
            4..7,
            "Binary operator '-qq' does not exist".to_owned(),
        ),
        (
            "'x' -EQ '1'",
            4..7,
            "Binary operator '-EQ' does not exist".to_owned(),
        ),
        (
            "'a' in f('x')",
            7..8,
            "List-returning function 'f' does not exist".to_owned(),
        ),
        (
            "%{FOO BAR}",
            5..6,
            "Invalid character in variable name ' '".to_owned(),
        ),
        (
            "'a' == 'b",
            7..9,
            "Unterminated string or variable".to_owned(),
        ),
        (
            "'a' == %{HTTP_HOST",
            7..18,
            "Unterminated string or variable".to_owned(),
        ),
        (
            "-R 'x'",
            3..6,
            "parsing of subnet/netmask failed".to_owned(),
        ),
        (
            "-R %{HTTP_HOST}",
            3..15,
            "-R requires subnet/netmask as constant argument".to_owned(),
        ),
        (
            "'a' =~ 'x'",
            7..8,
            "syntax error, unexpected string, expecting a regular expression".to_owned(),
        ),
        (
            "'a' =~ /x",
            7..9,
            "Unterminated regular expression".to_owned(),
        ),
        (
            "'a' =~ /a(/",
            9..10,
            "Failed to compile regular expression: missing closing parenthesis".to_owned(),
        ),
        (
            "'a' =~ /a/x",
            10..11,
            "syntax error, unexpected name, expecting the end of the expression".to_owned(),
        ),
        (
            "'a' == 'b' 'c'",
            11..12,
            "syntax error, unexpected string, expecting the end of the expression".to_owned(),
        ),
        ("true & false", 5..6, "Parse error near '&'".to_owned()),
        (
            "'\\400' == ''",
            1..5,
            "Escape sequence out of bound".to_owned(),
        ),
        ("'\\9' == ''", 1..3, "Bad escape sequence".to_owned()),
        (
            "tolower('A','B') == 'ab'",
            11..12,
            "syntax error, unexpected operator, expecting `)`".to_owned(),
        ),
        (
            "'a' == 'b' s/a/b/",
            11..12,
            "syntax error, unexpected name, expecting the end of the expression".to_owned(),
        ),
    ] {
        let error = Expression::parse(text.as_bytes()).expect_err(text);
        assert_eq!((error.range, error.message), (range, message), "{text}");
    }
    let deep = format!("{}true{}", "(".repeat(60), ")".repeat(60));
    assert!(Expression::parse(deep.as_bytes()).is_err());
}
