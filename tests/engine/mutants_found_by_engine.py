"""Which test of the engine finds which planted bug."""

BY_ENGINE = {
    "the permission asked for the host's name, whatever the interface's is": (
        "tests/engine/test_ifaces.py::test_the_name_that_the_login_says_is_permitted_and_taken_back"
    ),
    "a new initiator name never asked for after a boot": (
        "tests/engine/test_ifaces.py::test_after_a_boot_a_new_name_is_permitted_as_well"
    ),
    "a host fenced off by the name that it had when it was let in": (
        "tests/engine/test_ifaces.py::test_this_host_is_not_fenced_off_by_any_of_its_names"
    ),
    "an answer to an INQUIRY taken for a path that carries I/O": (
        "tests/engine/test_plans.py::test_a_path_in_standby_is_passed_over"
    ),
    "the LUN looked for at the first portal only": (
        "tests/engine/test_plans.py::test_a_lun_behind_the_second_portal_only_is_found"
    ),
    "an alarm that nobody hears": (
        "tests/engine/test_tending.py::test_a_session_that_others_log_out_is_told_at_once_and_so_is_who_has_the_dead_disk"
    ),
    "a domain with a dead disk listed as healthy": (
        "tests/engine/test_tending.py::test_a_session_that_others_log_out_is_told_at_once_and_so_is_who_has_the_dead_disk"
    ),
    "an old plan forgotten, with all that it made": (
        "tests/engine/test_plans.py::test_a_lun_whose_number_has_changed_is_found_again_under_a_standing_attachment"
    ),
    "the link taken away with the old plan": (
        "tests/engine/test_plans.py::test_a_lun_whose_number_has_changed_is_found_again_under_a_standing_attachment"
    ),
    "what the new plan needs taken down with the old one": (
        "tests/engine/test_plans.py::test_where_another_unit_has_the_old_number_the_first_is_found_all_the_same"
    ),
    "the server asked while it is being written down whose the LUN is": (
        "tests/engine/test_rescans.py::test_no_server_is_asked_before_it_is_written_down_whose_the_lun_is"
    ),
    "the server asked for a LUN of iSCSI at once, whoever may have it looked for": (
        "tests/engine/test_rescans.py::test_a_rescan_between_the_grant_and_the_scan"
    ),
    "a resize goes on where the disk was while a mend takes it elsewhere": (
        "tests/engine/test_side_by_side.py::test_a_disk_that_moves_while_it_is_resized_has_its_size_and_leaves_nothing"
    ),
    "domains are told the size of before": (
        "tests/engine/test_side_by_side.py::test_a_disk_that_moves_while_it_is_resized_has_its_size_and_leaves_nothing"
    ),
    "a client is closed while something is deleted by it": (
        "tests/engine/test_clearing.py::test_a_reload_waits_for_what_is_being_deleted"
    ),
    "a restore that was passed over counts as done": (
        "tests/engine/test_passed_over.py::test_a_restore_that_is_passed_over_is_not_done"
    ),
    "what is at both places counts as moved": (
        "tests/engine/test_passed_over.py::test_what_is_at_both_places_was_not_moved"
    ),
    "work of before its answer proves a restore": (
        "tests/engine/test_passed_over.py::test_work_that_was_seen_before_a_server_said_yes_proves_nothing"
    ),
    "a time that stands still is never held against a restore": (
        "tests/engine/test_passed_over.py::test_a_time_that_stands_still_and_is_not_that_of_the_snapshot_contradicts"
    ),
    "a size that is told is missing while the server works on": (
        "tests/engine/test_passed_over.py::test_a_size_that_is_told_is_there_the_first_time_as_the_second"
    ),
    "a size that is only on its way counts as there": (
        "tests/engine/test_passed_over.py::test_a_size_that_is_only_on_its_way_is_not_done"
    ),
    "a look that fails after a change is the failure of the change": (
        "tests/engine/test_passed_over.py::test_what_has_left_its_place_was_moved"
    ),
    "a snapshot that was used up contradicts its restore": (
        "tests/engine/test_passed_over.py::test_a_server_may_use_a_snapshot_up"
    ),
    "an operation that ages by the wall clock": "tests/engine/test_clearing.py::test_a_clock_that_is_set_ends_nothing",
    "whatever is at its place cleared away with what failed": (
        "tests/engine/test_clearing.py::test_a_whole_copy_is_deleted_only_where_its_answer_or_its_mark_tells_that_it_is_ours"
    ),
    "a permission withdrawn that an attachment through another server relies on": (
        "tests/engine/test_two_servers.py::test_a_permission_stays_until_the_last_who_relies_on_it"
    ),
    "a mend that goes on by a plan that was given up": (
        "tests/engine/test_side_by_side.py::test_a_mend_does_not_go_on_by_a_plan_that_was_given_up"
    ),
    "a repeated hand-over that is refused takes the disk back": (
        "tests/engine/test_side_by_side.py::test_a_repeated_hand_over_that_is_refused_takes_nothing_back"
    ),
    "another host's object taken for ours where the answer was lost": (
        "tests/engine/test_lost_answers.py::test_another_hosts_object_is_not_taken_for_ours"
    ),
    "what has no ID is moved by whatever is at its destination": (
        "tests/engine/test_lost_answers.py::test_a_move_of_what_has_no_id_is_done_by_the_servers_word"
    ),
    "whatever a server made of a copy is one": (
        "tests/engine/test_lost_answers.py::test_a_copy_is_done_when_it_is_like_its_source"
    ),
    "a host is said to be fenced off that has been let in again": (
        "tests/engine/test_changes.py::test_a_host_that_is_let_in_again_meanwhile_is_not_said_to_be_fenced_off"
    ),
    "udev's word of an unproved disk taken": (
        "tests/engine/test_names.py::test_a_unit_goes_by_one_name_whichever_its_export_says"
    ),
    "another object's unit under its other name": (
        "tests/engine/test_names.py::test_another_object_with_the_other_name_of_a_unit_is_refused"
    ),
    "a detach whose number is forgotten": (
        "tests/engine/test_late.py::test_a_late_attach_after_a_later_detach_does_nothing"
    ),
    "a late detach of what was attached anew": (
        "tests/engine/test_late.py::test_a_late_detach_leaves_the_later_attachment_alone"
    ),
    "a lease that ends under its user": "tests/engine/test_leases.py::test_it_never_goes_while_anybody_has_it_open",
    "a lease that outlives a boot": (
        "tests/engine/test_leases.py::test_a_boot_ends_it_and_what_was_confirmed_comes_back"
    ),
    "a guest that is on its way in takes the lease for granted": (
        "tests/engine/test_leases.py::test_a_guest_whose_memory_is_still_coming_keeps_it_and_does_not_confirm_it"
    ),
    "a host that was fenced off lets itself in again": (
        "tests/engine/test_withdrawn.py::test_who_was_fenced_off_while_it_was_down_gets_nothing_after_the_boot"
    ),
    "a leftover that somebody needs by now": (
        "tests/engine/test_leftovers.py::test_what_is_on_its_way_out_and_waits_for_its_server_is_none"
    ),
    "a leftover whose users are not asked for": (
        "tests/engine/test_leftovers.py::test_what_is_open_stays_and_says_by_whom"
    ),
    "a leftover that is not written out": (
        "tests/engine/test_leftovers.py::test_what_cannot_be_written_out_stays_and_is_dirty"
    ),
    "an attach that a boot has broken off is taken up again": (
        "tests/engine/test_withdrawn.py::test_an_attach_that_a_boot_has_broken_off_is_undone"
    ),
    "an attach of which nothing tells in which boot it began is taken up": (
        "tests/engine/test_withdrawn_earlier.py::test_an_attach_that_had_only_begun_is_undone_after_a_boot"
    ),
    "a helper that is away at the daemon's start undoes an attach under way": (
        "tests/engine/test_withdrawn_earlier.py::test_a_helper_that_is_away_for_a_while_undoes_nothing"
    ),
    "an attach that waits for the helper holds a detach up": (
        "tests/engine/test_withdrawn_earlier.py::test_a_detach_does_not_wait_for_a_helper_that_an_attach_waits_for"
    ),
    "what an earlier version was let in by counts as nothing": (
        "tests/engine/test_withdrawn_earlier.py::test_who_was_fenced_off_gets_nothing_at_the_first_boot_after_an_upgrade"
    ),
    "what an administrator permitted is followed to where others are permitted": (
        "tests/engine/test_withdrawn_earlier.py::test_what_an_administrator_permitted_is_not_followed_to_where_others_are_permitted"
    ),
    "who reads beside others is late by what they ask for": (
        "tests/engine/test_late.py::test_who_is_beside_others_is_late_by_its_own_name_alone"
    ),
    "a leftover offered though a guest has its map open": (
        "tests/engine/test_leftovers.py::test_what_is_open_by_its_map_stays_and_says_by_whom"
    ),
    "a leftover that is in use taken away as soon as it is closed": (
        "tests/engine/test_leftovers.py::test_what_is_opened_while_it_is_taken_away_is_a_leftover_again"
    ),
    "a lease that never ends since its disk cannot be proved": (
        "tests/engine/test_leases.py::test_it_ends_though_its_disk_cannot_be_proved_since_the_start"
    ),
    "a lease that was handed out and never begins": (
        "tests/engine/test_leases.py::test_it_ends_though_its_disk_cannot_be_proved_since_the_start"
    ),
    "a stranger's detach": "tests/engine/test_owners.py::test_only_the_owner_and_admins_change_an_attachment",
    "somebody's mount taken for ours": (
        "tests/engine/test_nfs.py::test_another_share_at_our_place_is_neither_used_nor_touched"
    ),
    "a file taken from under its user": "tests/engine/test_nfs.py::test_a_file_in_use_stays_where_it_is",
    "which file it is, known to this process alone": (
        "tests/engine/test_nfs_identity.py::test_a_file_that_was_replaced_under_a_link_is_not_led_to"
    ),
    "a file mounted anew without a word of its server": (
        "tests/engine/test_nfs_identity.py::test_the_server_is_asked_before_a_file_is_mounted_anew"
    ),
    "another object taken for the one at its place": (
        "tests/engine/test_nfs_identity.py::test_an_object_that_is_elsewhere_by_now_is_not_looked_for_in_its_old_place"
    ),
    "an administrator's own entry taken for ours": (
        "tests/engine/test_nfs_hosts.py::test_what_covers_this_host_already_is_left_alone"
    ),
    "a host's name withdrawn while another file of the share relies on it": (
        "tests/engine/test_nfs_hosts.py::test_each_name_goes_with_the_last_that_relies_on_it"
    ),
    "root's name left as long as any file of the share is attached": (
        "tests/engine/test_nfs_hosts.py::test_each_name_goes_with_the_last_that_relies_on_it"
    ),
    "a file handed out for writing that nobody could open so": (
        "tests/engine/test_nfs.py::test_a_file_in_a_read_only_export_is_not_handed_out_for_writing"
    ),
    "grant recorded after the act": (
        "tests/engine/test_attachments.py::test_attach_hands_out_a_verified_device_and_detach_leaves_nothing"
    ),
    "export made before its intent": "tests/engine/test_exporting.py::test_it_is_made_and_removed_again",
    "identity check skipped": (
        "tests/engine/test_attachments.py::test_a_stale_device_of_ours_is_dropped_once_and_the_lun_looked_at_again"
    ),
    "needs of others ignored": "tests/engine/test_attachments.py::test_a_swapped_lun_is_refused",
    "released before it is gone": (
        "tests/engine/test_attachments.py::test_attach_hands_out_a_verified_device_and_detach_leaves_nothing"
    ),
    "a commit that can be cut off": "tests/engine/test_races.py::test_a_commit_is_not_cut_off_by_a_cancellation",
    "the server asked before the LUN was said to be ours": (
        "tests/engine/test_rescans.py::test_no_server_is_asked_before_it_is_written_down_whose_the_lun_is"
    ),
    "no look after the permission was withdrawn": (
        "tests/engine/test_fc.py::test_a_lun_that_returns_before_the_server_withdraws_it_is_removed_again"
    ),
    "link not put back": "tests/engine/test_dirty.py::test_a_write_out_that_failed_is_never_taken_for_done",
    "multipath's list never brought back": (
        "tests/engine/test_multipath.py::test_detached_after_a_reboot_nothing_is_left_on_multipaths_list"
    ),
    "what was read when the daemon died stays attached": (
        "tests/engine/test_lun_content.py::test_a_crash_leaves_nothing"
    ),
    "the disk of a LUN that is read goes while it is read": (
        "tests/engine/test_lun_content.py::test_a_disk_is_not_taken_away_while_it_is_read"
    ),
    "the last piece of a LUN goes out before it is proved": (
        "tests/engine/test_lun_content.py::test_one_that_changes_after_its_last_byte_was_read"
    ),
    "what is borrowed is given to the configured owner": (
        "tests/engine/test_users.py::test_a_borrowed_disk_keeps_owner_and_flag_and_the_note_says_so"
    ),
    "a write-out that failed forgotten with the reboot": (
        "tests/engine/test_dirty.py::test_a_write_out_that_failed_is_never_taken_for_done"
    ),
    "a loss given up before it is noted": (
        "tests/engine/test_dirty.py::test_a_crash_at_every_point_loses_nothing_without_a_word"
    ),
    "force that outlives its refusal": "tests/engine/test_dirty.py::test_force_takes_nothing_from_under_a_user",
    "a stale disk waited for before the permission is asked for": (
        "tests/engine/test_fc.py::test_a_stale_disk_of_the_lun_is_no_reason_not_to_ask_for_the_permission"
    ),
    "a swap that was seen forgotten when it is taken back": (
        "tests/engine/test_swapped.py::test_a_swap_is_not_forgotten_when_it_is_taken_back"
    ),
    "a file unmounted with whatever error its write-out has": (
        "tests/engine/test_file_writes.py::test_it_is_written_out_before_the_mount_goes"
    ),
    "a file that others need detached with what was written to it in the cache": (
        "tests/engine/test_file_writes.py::test_whoever_wrote_is_answered_when_it_is_written_out_though_others_need_the_file"
    ),
    "a file unmounted with whatever error its write-out has, since its last attachment only reads": (
        "tests/engine/test_file_writes.py::test_the_last_one_writes_out_though_it_only_reads"
    ),
    "a removal that waits for its server waited for though its loss is known": (
        "tests/engine/test_slow_share.py::test_by_force_a_disk_goes_though_another_one_of_its_share_is_waited_for"
    ),
    "what is above an attached object taken for free": (
        "tests/engine/test_above.py::test_what_is_above_an_attached_file_is_in_use"
    ),
    "an attach goes on with what it had read before a change": (
        "tests/engine/test_above.py::test_an_attach_that_has_read_before_a_change_reads_again"
    ),
    "decided on what was seen before the lock was had": (
        "tests/engine/test_others.py::test_a_resize_decides_on_what_it_sees_under_its_lock"
    ),
    "other hosts' permissions not looked at": "tests/engine/test_others.py::test_what_others_may_use_stays_as_it_is",
    "snapshots that go along are not named": (
        "tests/engine/test_others.py::test_snapshots_go_with_a_lun_only_when_that_is_said"
    ),
}
