/* meta — what policies may use, as LuaLS annotations: lua/lunapool/meta/lunapool.lua. */
#ifndef POLICY_META_H
#define POLICY_META_H

void policy_print_meta(int fd); /* for --docs */

#endif
