/* matrix — the reference of what may run where, made from tbl/statements.h. */
#ifndef SQL_MATRIX_H
#define SQL_MATRIX_H

void matrix_print(int fd); /* markdown */

#endif
