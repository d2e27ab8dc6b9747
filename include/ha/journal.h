/*
 * journal — where the records of this program's clusters outlive it: a folder of its own, a file for each cluster, written whole and synced by a
 * helper thread, so that a disk that hangs stops nobody but the journal.
 *
 * A change is proposed against the epoch that it was made for, and is then committed, refused (another epoch is recorded) or lost (it could not be
 * written).  Nobody acts before it is committed.  With several Lunapools the watchdog takes this file's place; the interface stays.
 */
#ifndef HA_JOURNAL_H
#define HA_JOURNAL_H

#include "ha/record.h"
#include "net/mailbox.h"

struct journal;
/* DIR must be ours alone, and is locked: NULL with ERR when another process has it, or it cannot be used.  REPLY_TO: the mailbox of the loop that
 * calls all of this; its memory outlives the journal. */
struct journal *journal_open(const char *dir, struct mailbox *reply_to, struct err *err) MUST_CHECK;
/* A simulation's, without folder and thread: what is committed is what DISK has written. */
struct journal_write;
struct journal_disk {
	void *arg;
	/* TEXT belongs to W; NULL: there is nothing to write.  -> journal_on_written(), also behind journal_close(). */
	void (*write)(void *arg, const char *name, struct journal_write *w, const char *text, size_t len);
	size_t (*read)(void *arg, const char *name, char *text); /* what was written last to the file NAME, RECORD_TEXT_MAX at most; 0: nothing */
};
struct journal *journal_simulated(const struct journal_disk *disk) MUST_CHECK;
void journal_on_written(struct journal_write *w, bool is_written);
void journal_close(struct journal *j); /* waits for what is being written, but not for a disk that hangs; NULL is fine */

enum journal_found { JOURNAL_NONE, JOURNAL_FOUND, JOURNAL_DAMAGED, JOURNAL_STRANGE };
/* What was committed last of CLUSTER.  Waits for the disk: at start only.  DAMAGED: OUT is empty, ERR says why, the file was set aside.  STRANGE
 * (recordtext.c): the same, but the file stays, and whatever is proposed for the cluster is lost. */
enum journal_found journal_load(struct journal *j, const char *cluster, struct record *out, struct err *err);

/* False with ERR: its record is strange. */
bool journal_knows(struct journal *j, const char *cluster, struct err *err) MUST_CHECK;

enum record_fate { RECORD_COMMITTED, RECORD_REFUSED, RECORD_LOST };
/* FN comes from the loop, never from inside this call, once, and not after journal_forget().  Several may be under way: they are written in order. */
typedef void (*record_done_fn)(void *arg, enum record_fate fate, const struct err *err);
void record_propose(struct journal *j, uint64_t expected_epoch, const struct record *next, record_done_fn fn, void *arg);
void journal_forget(struct journal *j, const void *arg);

#endif
