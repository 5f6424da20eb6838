/* SPDX-License-Identifier: GPL-2.0 */
/*
 * info.h - what is told of a port and of its sockets
 */
#ifndef SM_INFO_H
#define SM_INFO_H

#include "port.h"

struct seq_file;

void sm_info_fill(struct sm_port *port, struct stackmap_info *info);
void sm_detail_fill(struct sm_port *port, struct stackmap_detail *d);
void sm_info_show(struct seq_file *seq, struct sm_port *port);
int sm_info_diag(const struct sm_sock *ss, struct sk_buff *skb);
size_t sm_info_diag_size(void);

#endif /* SM_INFO_H */
