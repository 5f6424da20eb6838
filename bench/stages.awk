# SPDX-License-Identifier: GPL-2.0
# stages.awk: adds up "COUNT FUNCTION" lines by the stage of a round trip that the function belongs to.
#
# By name, so that every kernel and server is judged alike; the first pattern that fits counts. What is inlined counts
# for its caller. Prints "STAGE,COUNT", in the order of a packet's way.
function stage(f) {
  if (f == "(user)") return "application"
  if (f ~ /^_*list_/) return "other"
  if (f ~ /^(vp_notify|sm_virtio_kick|sm_virtio_doorbell|virtqueue_notify|virtqueue_kick|iowrite16|iowrite32)/) return "doorbell"
  if (f ~ /\[(virtio_net|virtio_ring|virtio_pci)\]/) return "driver"
  if (f ~ /^(sm_virtio|sm_frame|sm_napi|virtnet|virtqueue|vring|detach_buf|dql_|skb_to_sgvec|__skb_to_sgvec|sg_init|sm_port_run_nic|dma_|receive_buf|receive_mergeable|page_to_skb|free_old_xmit|start_xmit|xmit_skb|try_fill_recv|add_recvbuf|skb_xmit_done|skb_recv_done|napi_|__napi|gro_|dev_gro|inet_gro|tcp_gro|tcp4_gro|net_rx_action|page_frag|skb_page_frag)/) return "driver"
  if (f ~ /^(sm_tx|tcp_send_mss|tcp_sendmsg|tcp_stream_alloc|tcp_push|tcp_skb_entail|inet_sendmsg|sock_sendmsg|__sock_sendmsg|sock_write|____sys_send|___sys_send|__sys_send|__x64_sys_send|__do_sys_send|io_send|security_socket_send|sk_stream|skb_splice|tcp_tx_timestamp)/) return "send"
  if (f ~ /^(sm_|stackmap|tcp_read_sock|tcp_recv|tcp_rcv_space|tcp_cleanup_rbuf|__tcp_cleanup_rbuf|inet_recv|sock_recv|__sock_recv|sock_read|__sys_recv|__x64_sys_recv|____sys_recv|ep_|__ep_|do_epoll|epoll|eventpoll|sock_poll|tcp_poll|tcp_stream_memory|sock_def_readable|io_|__io_|skb_copy_datagram|__skb_datagram|simple_copy|tcp_inq|tcp_eat|security_socket|lock_sock|release_sock|__release_sock|__lock_sock)/) return "delivery"
  if (f ~ /^(tcp_v4_rcv|tcp_v4_do_rcv|tcp_v4_early|tcp_rcv|tcp_ack|tcp_clean|tcp_data|tcp_queue_rcv|tcp_event_data_recv|tcp_validate|tcp_rate|tcp_rack|tcp_update|tcp_newly|tcp_parse|tcp_fast_parse|tcp_grow|tcp_try|tcp_in_|ip_rcv|ip_local|raw_local|ip_protocol|ip_list|ip_sublist|netif_receive|__netif_receive|eth_type|__inet_lookup|inet_ehashfn|sock_rfree|nf_|sk_filter|bictcp|cubictcp|tcp_cong|tcp_mstamp|tcp_check_space|tcp_prequeue|tcp_add_backlog)/) return "stack, in"
  if (f ~ /^(tcp_write|__tcp_push|__tcp_transmit|tcp_transmit|tcp_event_new|tcp_established_options|tcp_options_write|tcp_v4_send_check|__tcp_v4_send|tcp_schedule|tcp_rearm|tcp_tso|tcp_small|tcp_init_tso|tcp_current|tcp_select|__tcp_select|__tcp_send_ack|tcp_send_ack|ip_queue|__ip_queue|ip_local_out|__ip_local_out|ip_output|ip_finish|__ip_finish|ip_copy|ipv4_dst|ipv4_mtu|neigh|__dev_queue|dev_queue|dev_hard|__dev_direct|dev_direct|sch_direct|__qdisc|pfifo|fq_|qdisc|validate_xmit|netif_skb_features|passthru|tcp_wfree|sock_wfree|skb_clone|__skb_clone|netdev_core_pick|netdev_pick|sk_pacing|tcp_pacing|tcp_chrono)/) return "stack, out"
  if (f ~ /(kmem_cache|kmalloc|kfree|slab|free_unref|alloc_pages|get_page_from|clear_page|memset|memcpy|rep_movs|rep_stos|check_object|virt_addr|check_heap|import_|copy_from|copy_to|_copy_|copyin|copyout|skb|page)/) return "buffers and memory"
  if (f ~ /(sched|softirq|irq|apic|timer|tick|clock|wake|task|rq_|_rq|idle|load_avg|cpu|signal|ktime|cfs|entity|switch_|psi_|ttwu|update_curr|vruntime|dequeue|enqueue|interrupt|fast_mix|rcu|local_bh|spin_)/) return "interrupts, timers, scheduler"
  if (f ~ /(syscall|SYSCALL|error_entry|fd|fget|fput|sys_|user_mode|aa_|apparmor|security_|x64_sys|rseq)/) return "system calls"
  if (f ~ /^(tcp|ip_|inet|sk_|__sk|sock)/) return "stack, in"
  return "other"
}
{ n = $1; $1 = ""; sub(/^ +/, ""); sum[stage($0)] += n }
END {
  k = split("driver|stack, in|delivery|application|send|stack, out|doorbell|buffers and memory|system calls|interrupts, timers, scheduler|other", order, "|")
  for (i = 1; i <= k; i++) printf "%s,%.0f\n", (order[i] ~ /,/ ? "\"" order[i] "\"" : order[i]), sum[order[i]]
}
