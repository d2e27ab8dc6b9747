/* Input: an ident file, 0xff, a system name.  It loads or the errors say why not; a loaded one answers for every kind of user. */
#include "conf/ident.h"

#include "base/log.h"
#include "base/mem.h"
#include "conf/hba.h"
#include "fuzz.h"
#include "memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct memfile file;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const roles[] = { "ann", "staff" };
	static const struct hba_facts facts[] = { { 0 }, { .has_roles = true, .n_roles = 2, .roles = roles } };
	struct slice in = slice_of(data, size), lines = fuzz_part(&in);
	struct conf_errors errors = { 0 };
	struct ident *i = ident_load(memfile(&file, lines.at, lines.len), &errors);
	ASSERT((i != NULL) == (errors.n == 0));
	char *system = mem_textn((const char *)in.at, in.len);
	for (size_t at = 0; i && at < 2; at++) {
		enum ident_answer one = ident_match(i, "m", system, "ann", &facts[at]);
		ASSERT(at == 0 || one != IDENT_NEEDS_ROLES);
		ASSERT(ident_has(i, "m") || one == IDENT_NO);
		ASSERT(ident_match(i, "m", "", "ann", &facts[at]) != IDENT_NEEDS_ROLES || at == 0);
	}
	mem_free(system);
	ident_free(i);
	conf_errors_fini(&errors);
	return 0;
}
