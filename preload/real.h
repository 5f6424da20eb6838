/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * real.h - system calls for libstackmap's own files, which would find our calls by libc's names
 *
 * Included before all else when they are compiled for the preload library.
 */
#ifndef STACKMAP_REAL_H
#define STACKMAP_REAL_H

#define open		stackmap_real_open
#define close		stackmap_real_close
#define ioctl		stackmap_real_ioctl
#define fcntl		stackmap_real_fcntl
#define ppoll		stackmap_real_ppoll
#define shutdown	stackmap_real_shutdown

#endif /* STACKMAP_REAL_H */
