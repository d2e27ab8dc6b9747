/* Any text as a list of secrets. */
#include "base/log.h"
#include "conf/users.h"
#include "memfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct memfile file;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors errors = { 0 };
	struct users *u = users_load(memfile(&file, data, size), &errors);
	ASSERT((u != NULL) == (errors.n == 0));
	if (u)
		users_secret(u, "ann");
	users_free(u);
	conf_errors_fini(&errors);
	return 0;
}
