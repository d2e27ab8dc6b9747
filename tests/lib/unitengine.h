/*
 * unitengine — the same tests on each engine.
 *
 *   #define TESTS(T) T(this_holds) T(that_holds)
 *   int main(void) { ENGINE_RUN(TESTS) }
 *
 * Tests make their engine with unit_engine(loop), and say unit_setup() and unit_teardown().  Where the kernel refuses io_uring, a test that passes says so.
 */
#ifndef UNITENGINE_H
#define UNITENGINE_H

#include "net/stream.h"
#include "unit.h"

static bool unit_wants_io_uring;

static inline struct engine *unit_engine(struct loop *loop)
{
	struct err why;
	struct engine *e = unit_wants_io_uring ? engine_new_io_uring(loop, &why) : engine_new(loop);
	assert_non_null(e);
	return e;
}

static inline void io_uring_is_not_granted_by_this_kernel(void **state)
{
	struct err why;
	assert_false(engine_can_io_uring(&why));
	print_message("# %s; %s\n", why.text, why.hint);
}

#define ENGINE_TEST(name) { #name " (epoll)", name, unit_setup, unit_teardown, NULL },
#define ENGINE_TEST_RING(name) { #name " (io_uring)", name, unit_setup_ring, unit_teardown, NULL },
#define ENGINE_RUN(TESTS)                                                                                                \
	const struct CMUnitTest tests[] = { TESTS(ENGINE_TEST) TESTS(ENGINE_TEST_RING) };                                    \
	const struct CMUnitTest without[] = { TESTS(ENGINE_TEST) cmocka_unit_test(io_uring_is_not_granted_by_this_kernel) }; \
	struct err why;                                                                                                      \
	return engine_can_io_uring(&why) ? UNIT_RUN(tests) : UNIT_RUN(without);

static int unit_setup(void **state);
static int unit_teardown(void **state);
static inline int unit_setup_ring(void **state)
{
	unit_wants_io_uring = true;
	return unit_setup(state);
}

#endif
