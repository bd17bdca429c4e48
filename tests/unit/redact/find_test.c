/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules for any text find, and what they must leave. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "redact/internal.h"

static struct arena *mem;
static struct redact_rules *rules;
static struct scanner scanner;

static struct str masked(struct str text)
{
	bool drop = false;
	struct str got = scanner_apply(&scanner, mem, sight(rules, text), text, &drop);

	assert_false(drop);
	return got;
}

struct pair {
	const char *text;
	const char *want; /* NULL: the text itself, not copied */
};

static void check(const struct pair *pairs, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		struct str text = str_of(pairs[i].text), got = masked(text), again = masked(got);
		struct str want = str_of(pairs[i].want ? pairs[i].want : pairs[i].text);

		if (!str_eq(got, want))
			print_error("%s\ngave   %.*s\nwanted %.*s\n", text.p, STR_ARG(got),
				    STR_ARG(want));
		assert_true(str_eq(got, want));
		assert_true(pairs[i].want || got.p == text.p);
		if (!str_eq(again, got))
			print_error("%.*s changes again: %.*s\n", STR_ARG(got), STR_ARG(again));
		assert_ptr_equal(again.p, got.p);
	}
}

#define CHECK(...)                                                  \
	do {                                                        \
		static const struct pair pairs[] = { __VA_ARGS__ }; \
		check(pairs, ARRAY_LEN(pairs));                     \
	} while (0)
#define SAME NULL
#define R    "REDACTED"

static void card_numbers(void **state)
{
	CHECK({ "4111111111111111", R }, { "pay 4111 1111 1111 1111 now", "pay " R " now" },
	      { "4111-1111-1111-1111", R }, { "5555555555554444,378282246310005", R "," R },
	      { "3782 822463 10005", R }, { "3056 930902 5904", R }, { "6011111111111117", R },
	      { "3530111333300000", R }, { "2223003122003222", R }, { "4222222222222", R },
	      { "6200000000000005", R }, { "card=4111111111111111&x=1", "card=" R "&x=1" },
	      { "order 55 4111 1111 1111 1111", "order 55 " R },
	      { "5555 4111 1111 1111 1111", "5555 " R },
	      { "/pay/4111111111111111/x", "/pay/" R "/x" }, { "user_4111111111111111", "user_" R },
	      { "\"4111111111111111\"", "\"" R "\"" }, { "4111111111111111.", R "." },
	      { "?q=pay%204111%201111%201111%201111&x", "?q=pay%20" R "&x" },
	      { "q=4111+1111+1111+1111", "q=" R }, { "%204111111111111111", "%20" R },
	      { "4111\u00a01111\u00a01111\u00a01111 now", R " now" },
	      { "4111\u20131111\u20131111\u20131111", R }, { "3782\u202f822463\u202f10005", R });
}

static void numbers_that_are_no_cards(void **state)
{
	CHECK({ "4111111111111112", SAME }, { "1795200000000000000", SAME },
	      { "1795200000000", SAME }, { "411111111111", SAME }, { "9111111111111111", SAME },
	      { "0.4111111111111111", SAME }, { "4111111111111111.5", SAME },
	      { "41111111111111111111", SAME }, { "a4111111111111111", SAME },
	      { "4111111111111111a", SAME }, { "4111 1111-1111 1111", SAME },
	      { "4111+1111%201111+1111", SAME }, { "4111\u00b71111\u00b71111\u00b71111", SAME },
	      { "00-4111111111111111411111111111111a-4111111111111111-01", SAME },
	      { "41111111-1111-1111-1111-111111111111", SAME },
	      { "12345678-4111-1111-1111-111111111111", SAME },
	      { "f81d4fae-7dec-11d0-a765-00a0c91e6bf6", SAME },
	      { "2026-11-21T06:42:38.123456789Z", SAME }, { "2026-11-21 06:42:38", SAME },
	      { "10.42.103.200:32768", SAME }, { "/users/123456789012/orders", SAME },
	      { "0af7651916cd43dd8448eb211c80319c", SAME },
	      { "3d8a1b0f8c4e4a5b9f3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a", SAME },
	      { "4716523461234567812345612345678123456123456781234561234567812345", SAME },
	      { "session:00000f3a2b1c0d9e", SAME }, { "619012345678901234", SAME });
}

static void bank_accounts(void **state)
{
	CHECK({ "GB82WEST12345698765432", R },
	      { "DE89 3704 0044 0532 0130 00 thanks", R " thanks" },
	      { "IBAN: DE89 3704 0044 0532 0130 00 OK", "IBAN: " R " OK" },
	      { "iban=NO9386011117947;", "iban=" R ";" }, { "MT84MALT011000012345MTLCAST001S", R },
	      { "FR14 2004 1010 0505 0001 3M02 606", R }, { "NL91ABNA0417164300", R },
	      { "?iban=DE89%203704%200044%200532%200130%2000&x", "?iban=" R "&x" },
	      { "DE89-3704-0044-0532-0130-00", R },
	      { "DE89\u00a03704\u00a00044\u00a00532\u00a00130\u00a000 OK", R " OK" },
	      { "GB82WEST12345698765433", SAME }, { "XX82WEST12345698765432", SAME },
	      { "GB82WEST123456987654321", SAME }, { "AGB82WEST12345698765432", SAME },
	      { "gb82west12345698765432", SAME }, { "01ARZ3NDEKTSV4RRFFQ69G5FAV", SAME },
	      { "SKU DE12345678901234567890", SAME });
}

static void mail_addresses(void **state)
{
	CHECK({ "bob@example.com", R }, { "to <bob.b+x@mail.example.co.uk>.", "to <" R ">." },
	      { "GET user:bob@example.com", "GET user:" R },
	      { "mailto:bob@example.com", "mailto:" R },
	      { "?to=bob%40example.com&x", "?to=" R "&x" }, { "q=a%3Dbob%40x.org", "q=a%3D" R },
	      { "a@x.de,b@y.fr", R "," R },
	      { "J\xc3\xbcrgen@b\xc3\xbc"
		"cher.de",
		R },
	      { "to ivan@xn--80a1acny.xn--p1ai, now", "to " R ", now" },
	      { "\u0438@\u043f\u043e.\u0440\u0444 now", R " now" },
	      { "a@b.com\uff0c\u8c22", R "\uff0c\u8c22" }, { "Bob@Example.COM.", R "." },
	      { "root@localhost", SAME }, { "https://REDACTED:REDACTED@host.example.com/x", SAME },
	      { "git@github.com:a/b.git", SAME }, { "user@10.0.0.1", SAME },
	      { "app@sha256:0123456789abcdef", SAME }, { "@opentelemetry/api@1.2.0", SAME },
	      { "icon@2x.png", SAME }, { "getty@tty1.service", SAME },
	      { "user@1000.service", SAME }, { "com.foo.Bar@1a2b3c", SAME }, { "100%", SAME },
	      { "/a%20b/c", SAME }, { "/users/@me", SAME }, { "@app.route", SAME });
}

static void tokens_of_known_forms(void **state)
{
	CHECK({ "AKIAIOSFODNN7EXAMPLE", R }, { "key ASIAIOSFODNN7EXAMPLE.", "key " R "." },
	      { "ghp_0123456789abcdefghijABCDEFGHIJ012345", R },
	      { "github_pat_11ABCDEFG0123456789_abcdefghijk", R },
	      { "https://x/glpat-abcdefghij0123456789", "https://x/" R },
	      { "xoxb-123456789012-abcdefghijkl", R },
	      { "https://hooks.slack.com/services/T000/B000/XXXXXXXXXXXXXXXX",
		"https://hooks.slack.com/services/" R },
	      { "AIzaSyA-0123456789abcdefghijklmnopqrstu", R },
	      { "ya29.a0AfH6SMBx0123456789abcdef", R }, { "sk_live_0123456789abcdef", R },
	      { "whsec_0123456789abcdef0123456789", R }, { "sk-proj-0123456789abcdefghij-ABC", R },
	      { "sk-0123456789abcdefghij0123456789abcdefghij", R },
	      { "SG.0123456789abcdefghijkl.0123456789abcdefghijklmnopqrstuvwxyzABCDEFG", R },
	      { "npm_0123456789abcdefghij0123456789abcdef", R },
	      { "hvs.CAESIJ0123456789abcdefghij", R },
	      { "123456789:AAF0123456789abcdefghij0123456789abcd", R },
	      { "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF_-123", R },
	      { "t=eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "t=" R });
	CHECK({ "asia-east1", SAME }, { "AKIAxyz", SAME }, { "ghp_short", SAME },
	      { "sk-frontend-7d9f8b6c5-x2k2p", SAME },
	      { "disk-0123456789abcdef0123456789abcdef", SAME }, { "risk_test_results", SAME },
	      { "monkey-0123456789abcdef0123456789abcdef", SAME }, { "eyJustAWord", SAME },
	      { "shop-7d9f8b6c5-x2k2p", SAME }, { "k8s.io/books.shop", SAME });
}

static void private_keys(void **state)
{
	CHECK({ "x -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY----- y",
		"x " R " y" },
	      { "-----BEGIN PRIVATE KEY-----\nMIIE cut", R },
	      { "-----BEGIN PGP PRIVATE KEY BLOCK-----\nx\n-----END PGP PRIVATE KEY BLOCK-----",
		R },
	      { "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----", SAME });
}

static void authorization_in_text(void **state)
{
	CHECK({ "sent Bearer abc123.def", "sent Bearer " R },
	      { "bearer AbCdEf-gh rejected", "bearer " R " rejected" },
	      { "Basic dXNlcjpwYXNz", "Basic " R }, { "basic dXNlcg==", "basic " R },
	      { "Authorization: Basic x y z", "Authorization: Basic " R },
	      { "{\"Authorization\":\"token abcdefgh\"}", "{\"Authorization\":\"token " R "\"}" },
	      { "proxy-authorization=0123456789abcdef0", "proxy-authorization=" R },
	      { "GET / HTTP/1.1\r\nCookie: a=b; c=d\r\nHost: x",
		"GET / HTTP/1.1\r\nCookie: " R "\r\nHost: x" },
	      { "Set-Cookie: sid=1; Path=/", "Set-Cookie: " R },
	      { "basic authentication failed", SAME }, { "Bearer token expired", SAME },
	      { "the bearer must present", SAME }, { "basic auth required", SAME },
	      { "cookie: none", SAME }, { "authorization: denied for x", SAME },
	      { "authorization_code=5", SAME });
}

static void passwords_in_text(void **state)
{
	CHECK({ "password=hunter2", "password=" R },
	      { "Host=db;Password=a,b;User=x", "Host=db;Password=" R ";User=x" },
	      { "db_password = 'x y' next", "db_password = '" R "' next" },
	      { "{\"password\": \"pa\\\"ss\", \"a\": 1}", "{\"password\": \"" R "\", \"a\": 1}" },
	      { "{\\\"token\\\":\\\"abc\\\",\\\"a\\\":1}",
		"{\\\"token\\\":\\\"" R "\\\",\\\"a\\\":1}" },
	      { "{'apiKey': 12345}", "{'apiKey': " R "}" },
	      { "client_secret=abc&b=1", "client_secret=" R "&b=1" },
	      { "AccountKey=abc==;x", "AccountKey=" R ";x" }, { "token: abc123", "token: " R },
	      { "mysql --password hunter --host x", "mysql --password " R " --host x" },
	      { "secret => x", "secret => " R },
	      { "aws_secret_access_key=a/b+c", "aws_secret_access_key=" R },
	      { "token=abc, user=bob", "token=" R ", user=bob" }, { "pwd=abc", "pwd=" R });
	CHECK({ "password=?", SAME }, { "password = $1", SAME }, { "password=%s, x", SAME },
	      { "password={password}", SAME }, { "token == null", SAME }, { "token=null", SAME },
	      { "password=****", SAME }, { "Invalid token: expired", SAME },
	      { "secret: not found", SAME }, { "max_tokens=50", SAME },
	      { "GET session:token:abcd", SAME }, { "monkey=5", SAME }, { "partition_key=5", SAME },
	      { "PWD=/home/bob", SAME }, { "PASSWORD=$DB_PASSWORD", SAME },
	      { "Auth-token expired today", SAME }, { "(\"password\", \"user\")", SAME },
	      { "unexpected token < in JSON", SAME });
}

static int make(void **state)
{
	static const struct redact_rules_cfg builtin;
	char why[REDACT_WHY_MAX];

	mem = arena_new(0);
	if (!mem || redact_rules_new(&builtin, &rules, why))
		return -1;
	return scanner_init(&scanner, rules);
}

static int end(void **state)
{
	scanner_fini(&scanner);
	redact_rules_put(rules);
	arena_free(mem);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(card_numbers),
		cmocka_unit_test(numbers_that_are_no_cards),
		cmocka_unit_test(bank_accounts),
		cmocka_unit_test(mail_addresses),
		cmocka_unit_test(tokens_of_known_forms),
		cmocka_unit_test(private_keys),
		cmocka_unit_test(authorization_in_text),
		cmocka_unit_test(passwords_in_text),
	};
	return cmocka_run_group_tests_name("redact/find", tests, make, end);
}
