/* SPDX-License-Identifier: Apache-2.0 */
/* Redis: commands and replies, subscriptions, what is masked, holes, hostile bytes. */
#include "feed.h"

#define PING   "*1\r\n$4\r\nPING\r\n"
#define GET(k) "*2\r\n$3\r\nGET\r\n$1\r\n" k "\r\n"
#define ATTRS(op, text) \
	op " {db.system.name=redis; db.operation.name=" op "; db.query.text=" text "}"

static void a_command_and_its_reply(void **state)
{
	const struct step s[] = { OUT("*3\r\n$3\r\nset\r\n$3\r\nkey\r\n$11\r\nhello world\r\n"),
				  IN("+OK\r\n"), END };

	feed_expect("redis", s,
		    "request out pos=1000 size=40 time=1-1 " ATTRS(
			    "SET",
			    "SET key \"hello world\"") "\n"
						       "response in pos=1000 size=5 time=2-2 {}\n");
}

static void pipelines(void **state)
{
	const struct step s[] = { IN(GET("a") GET("b") PING), OUT("$1\r\nx\r\n$-1\r\n"),
				  OUT("+PONG\r\n"), END };

	feed_expect(
		"redis", s,
		"request in pos=1000 size=20 time=1-1 " ATTRS(
			"GET",
			"GET a") "\n"
				 "request in pos=1020 size=20 time=1-1 " ATTRS(
					 "GET",
					 "GET b") "\n"
						  "request in pos=1040 size=14 time=1-1 " ATTRS(
							  "PING", "PING") "\n"
									  "response out pos=1000 "
									  "size=7 time=2-2 {}\n"
									  "response out pos=1007 "
									  "size=5 time=2-2 {}\n"
									  "response out pos=1012 "
									  "size=7 time=3-3 {}\n");
}

static void errors_have_their_first_word(void **state)
{
	const struct step s[] = { IN(GET("a") GET("b")),
				  OUT("-WRONGTYPE Operation against a key\r\n"
				      "-ERR unknown command 'secret', with args\r\n"),
				  END };

	feed_expect("redis", s,
		    "request in pos=1000 size=20 time=1-1 " ATTRS(
			    "GET",
			    "GET a") "\n"
				     "request in pos=1020 size=20 time=1-1 " ATTRS(
					     "GET",
					     "GET b") "\n"
						      "response out pos=1000 size=36 time=2-2 "
						      "error=WRONGTYPE message=WRONGTYPE "
						      "Operation against a key status=error/error "
						      "{db.response.status_code=WRONGTYPE}\n"
						      "response out pos=1036 size=42 time=2-2 "
						      "error=ERR message=ERR unknown command "
						      "status=error/error "
						      "{db.response.status_code=ERR}\n");
}

static void nested_replies(void **state)
{
	const struct step s[] = { IN(GET("a") GET("b") PING),
				  OUT("*3\r\n:1\r\n*2\r\n$2\r\nab\r\n*0\r\n$-1\r\n"
				      "%1\r\n+k\r\n,1.5\r\n|1\r\n+ttl\r\n:3\r\n_\r\n"),
				  END };

	feed_expect(
		"redis", s,
		"request in pos=1000 size=20 time=1-1 " ATTRS(
			"GET",
			"GET a") "\n"
				 "request in pos=1020 size=20 time=1-1 " ATTRS(
					 "GET",
					 "GET b") "\n"
						  "request in pos=1040 size=14 time=1-1 " ATTRS(
							  "PING", "PING") "\n"
									  "response out pos=1000 "
									  "size=29 time=2-2 {}\n"
									  "response out pos=1029 "
									  "size=14 time=2-2 {}\n"
									  "response out pos=1057 "
									  "size=3 time=2-2 {}\n");
}

static void too_deep_replies_are_refused(void **state)
{
	const struct step s[] = { IN(PING),
				  OUT("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
				      "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
				      "*1\r\n*1\r\n:1\r\n"),
				  END };
	char *got = feed_run("redis", s, 0);

	assert_null(strstr(got, "response out pos=1000 size=76"));
	free(got);
}

static void transactions(void **state)
{
	const struct step s[] = { IN("*1\r\n$5\r\nMULTI\r\n"),
				  OUT("+OK\r\n"),
				  IN(GET("a") GET("b")),
				  OUT("+QUEUED\r\n+QUEUED\r\n"),
				  IN("*1\r\n$4\r\nEXEC\r\n"),
				  OUT("*2\r\n$1\r\nx\r\n-ERR no\r\n"),
				  END };

	feed_expect(
		"redis", s,
		"request in pos=1000 size=15 time=1-1 " ATTRS(
			"MULTI",
			"MULTI") "\n"
				 "response out pos=1000 size=5 time=2-2 {}\n"
				 "request in pos=1015 size=20 time=3-3 " ATTRS(
					 "GET",
					 "GET a") "\n"
						  "request in pos=1035 size=20 time=3-3 " ATTRS(
							  "GET",
							  "GET b") "\n"
								   "response out pos=1005 size=9 "
								   "time=4-4 {}\n"
								   "response out pos=1014 size=9 "
								   "time=4-4 {}\n"
								   "request in pos=1055 size=14 "
								   "time=5-5 EXEC "
								   "{db.system.name=redis; "
								   "db.operation.name=EXEC; "
								   "db.query.text=EXEC; "
								   "db.operation.batch.size=2}\n"
								   "response out pos=1023 size=20 "
								   "time=6-6 {}\n");
}

static void set_up_is_internal_and_shows_no_secret(void **state)
{
	const struct step s[] = {
		IN("*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$3\r\npw1\r\n"),
		OUT("%1\r\n+server\r\n+redis\r\n"),
		IN("*3\r\n$4\r\nauth\r\n$4\r\nuser\r\n$3\r\npw2\r\n*2\r\n$6\r\nSELECT\r\n$"
		   "1\r\n5\r\n"),
		OUT("+OK\r\n+OK\r\n"), END
	};

	feed_expect("redis", s,
		    "request in pos=1000 size=48 time=1-1 HELLO {db.system.name=redis; "
		    "db.operation.name=HELLO; db.query.text=HELLO 3 ? ? ?} [internal]\n"
		    "response out pos=1000 size=21 time=2-2 {}\n"
		    "request in pos=1048 size=33 time=3-3 AUTH {db.system.name=redis; "
		    "db.operation.name=AUTH; db.query.text=AUTH ? ?} [internal]\n"
		    "request in pos=1081 size=23 time=3-3 SELECT {db.system.name=redis; "
		    "db.operation.name=SELECT; db.query.text=SELECT 5} [internal]\n"
		    "response out pos=1021 size=5 time=4-4 {}\n"
		    "response out pos=1026 size=5 time=4-4 {}\n");
}

static void commands_of_two_words_and_a_database(void **state)
{
	const struct step s[] = {
		IN("*2\r\n$6\r\nSELECT\r\n$1\r\n5\r\n*3\r\n$6\r\nclient\r\n$7\r\nsetname\r\n"
		   "$2\r\nme\r\n*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$11\r\nrequirepass\r\n"
		   "$3\r\npw3\r\n"),
		END
	};

	feed_expect("redis", s,
		    "request in pos=1000 size=23 time=1-1 SELECT {db.system.name=redis; "
		    "db.operation.name=SELECT; db.query.text=SELECT 5} [internal]\n"
		    "request in pos=1023 size=37 time=1-1 CLIENT SETNAME {db.system.name=redis; "
		    "db.operation.name=CLIENT SETNAME; db.query.text=CLIENT setname me; "
		    "db.namespace=5} [internal]\n"
		    "request in pos=1060 size=52 time=1-1 CONFIG SET {db.system.name=redis; "
		    "db.operation.name=CONFIG SET; db.query.text=CONFIG SET requirepass ?; "
		    "db.namespace=5}\n");
}

static void messages_of_a_subscription_are_no_replies(void **state)
{
	const struct step s[] = { IN("*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n$1\r\nb\r\n"),
				  OUT("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
				      "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
				  OUT("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"),
				  IN(PING),
				  OUT("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nho\r\n"),
				  OUT("*2\r\n$4\r\npong\r\n$0\r\n\r\n"),
				  IN("*1\r\n$11\r\nUNSUBSCRIBE\r\n"),
				  OUT("*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n"
				      "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n"),
				  END };

	feed_expect(
		"redis", s,
		"request in pos=1000 size=33 time=1-1 " ATTRS(
			"SUBSCRIBE",
			"SUBSCRIBE a b") "\n"
					 "response out pos=1000 size=30 time=2-2 {}\n"
					 "request in pos=1033 size=14 time=4-4 " ATTRS(
						 "PING",
						 "PING") "\n"
							 "response out pos=1124 size=20 time=6-6 "
							 "{}\n"
							 "request in pos=1047 size=22 "
							 "time=7-7 " ATTRS(
								 "UNSUBSCRIBE",
								 "UNSUBSCRIBE") "\n"
										"response out "
										"pos=1144 size=33 "
										"time=8-8 {}\n");
}

static void push_frames_are_no_replies(void **state)
{
	const struct step s[] = { IN(GET("a")),
				  OUT(">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n"
				      "$1\r\nx\r\n"),
				  END };

	feed_expect("redis", s,
		    "request in pos=1000 size=20 time=1-1 " ATTRS(
			    "GET", "GET a") "\n"
					    "response out pos=1032 size=7 time=2-2 {}\n");
}

static void silent_commands_are_one_way(void **state)
{
	const struct step s[] = { IN("*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n" PING),
				  END };
	char *got = feed_run("redis", s, 0);

	assert_non_null(strstr(got, "db.query.text=CLIENT REPLY OFF} [one-way]\n"));
	assert_non_null(strstr(got, "db.query.text=PING} [one-way]\n"));
	free(got);
}

static void long_values_are_cut_in_the_text_only(void **state)
{
	static char text[9000], want[2000];
	struct step s[] = { { STEP_DATA, DIR_IN, text, 0 }, OUT("+OK\r\n"), IN(PING), END };
	int n = sprintf(text, "*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$8000\r\n");

	memset(text + n, 'v', 8000);
	s[0].len = (size_t)n + 8000 + (size_t)sprintf(text + n + 8000, "\r\n$2\r\nNX\r\n");
	n = sprintf(want,
		    "request in pos=1000 size=%zu time=1-1 SET {db.system.name=redis; "
		    "db.operation.name=SET; db.query.text=SET k \"",
		    s[0].len);
	memset(want + n, 'v', 1024 - 7);
	sprintf(want + n + 1024 - 7,
		"}\nresponse out pos=1000 size=5 time=2-2 {}\n"
		"request in pos=%zu size=14 time=3-3 " ATTRS("PING", "PING") "\n",
		1000 + s[0].len);
	feed_expect("redis", s, want);
}

static void many_arguments(void **state)
{
	static char text[60000];
	struct step s[] = { { STEP_DATA, DIR_IN, text, 0 }, IN(PING), END };
	int n = sprintf(text, "*2001\r\n$3\r\nDEL\r\n");
	char *got;

	for (int i = 0; i < 2000; i++)
		n += sprintf(text + n, "$4\r\n%04d\r\n", i);
	s[0].len = (size_t)n;
	for (size_t piece = 0; piece < 70; piece += 23) {
		got = feed_run("redis", s, piece);
		assert_non_null(strstr(got, "db.query.text=DEL 0000 0001 0002"));
		assert_non_null(strstr(got, "size=20016 time=1-1 DEL"));
		assert_non_null(strstr(got, "pos=21016 size=14 time=2-2 PING"));
		free(got);
	}
}

static void a_value_beyond_the_capture_is_skipped(void **state)
{
	const struct step s[] = { IN("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000\r\nabc"),
				  GAP_IN(4999),
				  OUT("+OK\r\n"),
				  IN(GET("a")),
				  OUT("$9000\r\nxyz"),
				  GAP_OUT(8999),
				  IN(PING),
				  OUT("+PONG\r\n"),
				  END };

	feed_expect(
		"redis", s,
		"request in pos=1000 size=5029 time=1-2 " ATTRS(
			"SET",
			"SET k \"abc") " [truncated]\n"
				       "response out pos=1000 size=5 time=3-3 {}\n"
				       "request in pos=6029 size=20 time=4-4 " ATTRS(
					       "GET",
					       "GET a") "\n"
							"response out pos=1005 size=9009 time=5-6 "
							"{}\n"
							"request in pos=6049 size=14 "
							"time=7-7 " ATTRS(
								"PING",
								"PING") "\n"
									"response out pos=10014 "
									"size=7 time=8-8 {}\n");
}

static void binary_arguments_are_escaped(void **state)
{
	const struct step s[] = {
		IN("*4\r\n$3\r\nSET\r\n$3\r\na\"b\r\n$4\r\n\\\x00\xff\n\r\n$0\r\n\r\n"), END
	};

	feed_expect("redis", s,
		    "request in pos=1000 size=38 time=1-1 " ATTRS(
			    "SET", "SET \"a\\\"b\" \"\\\\\\x00\\xff\\x0a\" \"\"") "\n");
}

static void inline_commands(void **state)
{
	const struct step s[] = { IN("PING\r\n"), OUT("+PONG\r\n"), IN("get  k\nAUTH pw\r\n"),
				  OUT("$-1\r\n-ERR no\r\n"), END };

	feed_expect("redis", s,
		    "request in pos=1000 size=6 time=1-1 " ATTRS(
			    "PING",
			    "PING") " [after-gap]\n"
				    "response out pos=1000 size=7 time=2-2 {}\n"
				    "request in pos=1006 size=7 time=3-3 " ATTRS(
					    "GET",
					    "GET k") "\n"
						     "request in pos=1013 size=9 time=3-3 " ATTRS(
							     "AUTH",
							     "AUTH ?") " [internal]\n"
								       "response out pos=1007 "
								       "size=5 time=4-4 {}\n"
								       "response out pos=1012 "
								       "size=9 time=4-4 error=ERR "
								       "message=ERR no "
								       "status=error/error "
								       "{db.response.status_code="
								       "ERR}\n");
}

static void monitor_ends_the_watch(void **state)
{
	const struct step s[] = { IN("*1\r\n$7\r\nMONITOR\r\n"),
				  OUT("+OK\r\n+1.2 [0 x] \"GET\"\r\n"), END };

	feed_expect(
		"redis", s,
		"request in pos=1000 size=17 time=1-1 " ATTRS("MONITOR", "MONITOR") " [one-way]\n");
}

static void joins_in_the_middle(void **state)
{
	const struct step s[] = { OUT("lue, the rest of it\r\n"), IN(GET("a")), OUT("$1\r\nx\r\n"),
				  END };
	const struct step first[] = { IN("$5\r\nhello\r\n"), OUT(PING), IN("+PONG\r\n"), END };

	feed_expect(
		"redis", s,
		"request in pos=1000 size=20 time=2-2 " ATTRS(
			"GET", "GET a") "\n"
					"response out pos=1021 size=7 time=3-3 {} [after-gap]\n");
	feed_expect("redis", first,
		    "response in pos=1000 size=11 time=1-1 {}\n"
		    "request out pos=1000 size=14 time=2-2 " ATTRS(
			    "PING", "PING") "\n"
					    "response in pos=1011 size=7 time=3-3 {}\n");
}

static void other_protocols_are_not_claimed(void **state)
{
	static const char *const others[] = {
		"GET / HTTP/1.1\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n",
		"+OK POP3 ready\r\n",
		"*x\r\n",
		"*1\r\n$4\r\n\x01\x02\x03",
		"$abc\r\n",
		"-no\r\n",
		"EHLO x\r\n",
		"\x16\x03\x01\x02",
		"220 mail\r\n",
		"",
		":x\r\n",
		"$3\r\nabcd\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct step s[] = { { STEP_DATA, DIR_IN, others[i], strlen(others[i]) },
				    CLOSE(0),
				    END };

		feed_expect("redis", s, "");
	}
}

static void hostile_numbers(void **state)
{
	static const char *const bad[] = {
		"*99999999\r\n$4\r\nPING\r\n", "*1\r\n$99999999999999999999\r\nPING",
		"*1\r\n$-5\r\nPING\r\n",       "*-2\r\n",
		"*1\r\n$4\r\nPINGxx",	       "*1\r\n$5\r\nP NG!\r\n",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		size_t len = strlen(bad[i]);
		const struct step s[] = {
			IN(PING),	  OUT("+PONG\r\n"), { STEP_DATA, DIR_IN, bad[i], len },
			OUT("+PONG\r\n"), IN(GET("a")),	    END
		};
		char want[512];

		snprintf(want, sizeof(want),
			 "request in pos=1000 size=14 time=1-1 " ATTRS(
				 "PING", "PING") "\n"
						 "response out pos=1000 size=7 time=2-2 {}\n"
						 "response out pos=1007 size=7 time=4-4 {}\n"
						 "request in pos=%zu size=20 time=5-5 " ATTRS(
							 "GET", "GET a") " [after-gap]\n",
			 1014 + len);
		feed_expect("redis", s, want);
	}
}

static void holes_never_invent(void **state)
{
	const struct step s[] = {
		IN("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$30\r\n*1\r\n$4\r\nEVIL\r\n................"
		   "\r\n"),
		OUT("+OK\r\n"),
		IN(GET("a") GET("b")),
		OUT("$20\r\n+OK\r\n$1\r\nx\r\n*1\r\n....\r\n*2\r\n:1\r\n$2\r\nab\r\n"),
		IN("*1\r\n$5\r\nMULTI\r\n"),
		OUT("+OK\r\n"),
		IN(GET("c")),
		OUT("+QUEUED\r\n"),
		IN("*1\r\n$4\r\nEXEC\r\n"),
		OUT("*1\r\n$1\r\nx\r\n"),
		CLOSE(0),
		END
	};

	feed_holes("redis", s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_and_its_reply),
		cmocka_unit_test(pipelines),
		cmocka_unit_test(errors_have_their_first_word),
		cmocka_unit_test(nested_replies),
		cmocka_unit_test(too_deep_replies_are_refused),
		cmocka_unit_test(transactions),
		cmocka_unit_test(set_up_is_internal_and_shows_no_secret),
		cmocka_unit_test(commands_of_two_words_and_a_database),
		cmocka_unit_test(messages_of_a_subscription_are_no_replies),
		cmocka_unit_test(push_frames_are_no_replies),
		cmocka_unit_test(silent_commands_are_one_way),
		cmocka_unit_test(long_values_are_cut_in_the_text_only),
		cmocka_unit_test(many_arguments),
		cmocka_unit_test(a_value_beyond_the_capture_is_skipped),
		cmocka_unit_test(binary_arguments_are_escaped),
		cmocka_unit_test(inline_commands),
		cmocka_unit_test(monitor_ends_the_watch),
		cmocka_unit_test(joins_in_the_middle),
		cmocka_unit_test(other_protocols_are_not_claimed),
		cmocka_unit_test(hostile_numbers),
		cmocka_unit_test(holes_never_invent),
	};

	return cmocka_run_group_tests_name("redis", tests, NULL, NULL);
}
