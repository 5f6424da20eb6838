/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lsm.h - whether security modules let a task send and receive on a socket
 */
#ifndef SM_LSM_H
#define SM_LSM_H

struct sm_port;
struct socket;

int sm_lsm_init(struct sm_port *port);
void sm_lsm_exit(struct sm_port *port);
int sm_lsm_ask(struct sm_port *port, struct socket *sock);

#endif /* SM_LSM_H */
