/* SPDX-License-Identifier: Apache-2.0 */
/* Writers and readers at once; to be run with SAN=1, or with -fsanitize=thread by hand. */
#include "unit/store/fill.h"

#define WRITERS 3
#define READERS 2
#define ROUNDS	40
#define TRACES	8 /* of a round */
#define SPANS	3

static struct fill f;
static uint64_t acked[WRITERS]; /* rounds */
static bool stop;

static void *write_rounds(void *arg)
{
	uint64_t me = (uint64_t)(uintptr_t)arg;
	struct store_writer *w = store_writer_new(f.store);

	assert_non_null(w);
	for (uint64_t r = 0; r < ROUNDS; r++) {
		for (uint64_t t = 0; t < TRACES; t++)
			for (uint32_t i = 0; i < SPANS; i++) {
				struct attr item[3];
				struct span s = make_span((me * ROUNDS + r) * TRACES + t, i, item);

				store_writer_push(w, &s);
			}
		assert_int_equal(sync_writer(w), 0);
		__atomic_store_n(&acked[me], r + 1, __ATOMIC_RELEASE);
	}
	store_writer_free(w);
	return NULL;
}

static void note_service(void *ctx, struct str name)
{
	++*(uint32_t *)ctx;
}

static void *read_on(void *arg)
{
	uint64_t last = 0, now, seed = (uint64_t)(uintptr_t)arg;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		uint64_t w = seed++ % WRITERS,
			 rounds = __atomic_load_n(&acked[w], __ATOMIC_ACQUIRE);
		uint32_t services = 0;

		if (rounds)
			assert_true(has_trace(f.store,
					      (w * ROUNDS + seed % rounds) * TRACES + seed % TRACES,
					      SPANS));
		now = count_spans(f.store);
		assert_true(now >= last); /* merging hides nothing, not for a moment */
		last = now;
		assert_int_equal(
			store_services(f.store, (struct time_range){ 0 }, note_service, &services),
			0);
		assert_true(services <= SERVICES);
		stats_of(f.store);
	}
	return NULL;
}

static void readers_see_all_that_was_acknowledged(void **state)
{
	pthread_t writers[WRITERS], readers[READERS];

	begin(&f);
	assert_int_equal(open_store(&f), 0);
	for (uintptr_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_on, (void *)i), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&writers[i], NULL, write_rounds, (void *)i), 0);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(count_spans(f.store), WRITERS * ROUNDS * TRACES * SPANS);
	for (uint64_t t = 0; t < WRITERS * ROUNDS * TRACES; t++)
		assert_true(has_trace(f.store, t, SPANS));
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_see_all_that_was_acknowledged),
	};
	int failed;

	make_services();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free_services();
	return failed;
}
