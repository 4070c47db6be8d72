"""Which test finds which planted bug, where that is known: asked first, it saves `make mutants` minutes for each."""

FOUND_BY = {
    "an attach that a boot has broken off is taken up again": (
        "tests/engine/test_withdrawn.py::test_an_attach_that_a_boot_has_broken_off_is_undone"
    ),
    "whatever a server made of a copy is one": (
        "tests/engine/test_lost_answers.py::test_a_copy_is_done_when_it_is_like_its_source"
    ),
    "a server is asked to copy what it says not to copy": (
        "tests/unit/test_cdmi_restored.py::test_into_what_says_that_no_containers_are_copied_there_none_is"
    ),
    "a LUN asked whether its pool takes copies": (
        "tests/unit/test_cdmi_restored.py::test_into_what_says_that_no_containers_are_copied_there_none_is"
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
    "a helper that stops leaves a write-out behind": (
        "tests/unit/test_nfs_removal.py::test_a_helper_that_stops_waits_for_a_write_out"
    ),
    "what is only to be deleted counts as gone": (
        "tests/unit/test_cdmi_references.py::test_what_was_only_to_be_deleted_and_stays_is_told_of"
    ),
    "one look that fails after a DELETE ends the waiting": (
        "tests/unit/test_cdmi_references.py::test_a_look_that_fails_meanwhile_is_no_end_of_the_waiting"
    ),
    "a delete that goes on has failed": (
        "tests/opennebula/test_delete.py::test_a_copy_that_takes_long_to_delete_is_asked_for_again"
    ),
    "a client is closed while something is deleted by it": (
        "tests/engine/test_clearing.py::test_a_reload_waits_for_what_is_being_deleted"
    ),
    "what is being deleted is said to have failed": (
        "tests/unit/test_cdmi_references.py::test_what_was_only_to_be_deleted_and_stays_is_told_of"
    ),
    "one without its ID taken for another than what was deleted": (
        "tests/unit/test_cdmi_objects.py::test_an_object_that_hides_its_id_while_it_is_deleted_is_there_still"
    ),
    "a restore that was passed over counts as done": (
        "tests/engine/test_passed_over.py::test_a_restore_that_is_passed_over_is_not_done"
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
    "what is at both places counts as moved": (
        "tests/engine/test_passed_over.py::test_what_is_at_both_places_was_not_moved"
    ),
    "the permission asked for the host's name, whatever the interface's is": (
        "tests/engine/test_ifaces.py::test_the_name_that_the_login_says_is_permitted_and_taken_back"
    ),
    "a new initiator name never asked for after a boot": (
        "tests/engine/test_ifaces.py::test_after_a_boot_a_new_name_is_permitted_as_well"
    ),
    "a host fenced off by the name that it had when it was let in": (
        "tests/engine/test_ifaces.py::test_this_host_is_not_fenced_off_by_any_of_its_names"
    ),
    "an interface's empty initiator name taken for one": (
        "tests/unit/test_linux_sysfs.py::test_the_name_that_a_login_by_an_interface_says"
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
    "what the new plan needs taken down with the old one": (
        "tests/engine/test_plans.py::test_where_another_unit_has_the_old_number_the_first_is_found_all_the_same"
    ),
    "of several sessions of one login only one is ours": (
        "tests/unit/test_guarded.py::test_all_sessions_that_came_of_our_login_are_ours_and_go"
    ),
    "a record of ours is left to what iscsid.conf says of giving up": (
        "tests/unit/test_node_db.py::test_a_record_of_ours_says_all_that_we_depend_on_whatever_iscsid_conf_does"
    ),
    "a change that is sent again behind our back": (
        "tests/unit/test_cdmi_once.py::test_what_makes_changes_or_deletes_an_object_is_asked_for_once"
    ),
    "a permission withdrawn that an attachment through another server relies on": (
        "tests/engine/test_two_servers.py::test_a_permission_stays_until_the_last_who_relies_on_it"
    ),
    "an export removed on the strength of an old look": (
        "tests/unit/test_cdmi_exporting.py::test_an_export_is_not_taken_from_a_host_that_is_let_in_while_it_is_removed"
    ),
    "another host's object taken for ours where the answer was lost": (
        "tests/engine/test_lost_answers.py::test_another_hosts_object_is_not_taken_for_ours"
    ),
    "a value of another host's that begins and ends like ours taken for it where the answer was lost": (
        "tests/unit/test_cdmi_uploads.py::test_another_hosts_value_that_begins_and_ends_like_ours_is_not_taken_for_it"
    ),
    "what has no ID is moved by whatever is at its destination": (
        "tests/engine/test_lost_answers.py::test_a_move_of_what_has_no_id_is_done_by_the_servers_word"
    ),
    "the kernel's name of another kind contradicts": (
        "tests/unit/test_linux_designators.py::test_the_right_unit_by_any_of_its_names"
    ),
    "udev's word of an unproved disk taken": (
        "tests/engine/test_names.py::test_a_unit_goes_by_one_name_whichever_its_export_says"
    ),
    "a link that udev does not keep is left": (
        "tests/unit/test_linux_links.py::test_of_two_disks_that_say_the_same_only_the_proved_one_is_linked"
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
    "a stranger's detach": "tests/engine/test_owners.py::test_only_the_owner_and_admins_change_an_attachment",
    "a mount recorded after it was made": "tests/unit/test_guarded_nfs.py::test_a_crash_at_any_point_is_undone",
    "somebody's mount taken for ours": (
        "tests/engine/test_nfs.py::test_another_share_at_our_place_is_neither_used_nor_touched"
    ),
    "a file taken from under its user": "tests/engine/test_nfs.py::test_a_file_in_use_stays_where_it_is",
    "a file of another file system taken for the one that was handed out": (
        "tests/unit/test_nfs_decide.py::test_attach"
    ),
    "a file mounted anew without a word of its server": (
        "tests/engine/test_nfs_identity.py::test_the_server_is_asked_before_a_file_is_mounted_anew"
    ),
    "another object taken for the one at its place": (
        "tests/engine/test_nfs_identity.py::test_an_object_that_is_elsewhere_by_now_is_not_looked_for_in_its_old_place"
    ),
    "a link left that leads to another file": "tests/unit/test_nfs_decide.py::test_attach",
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
    "a disk that fell silent removed, though its cache may not be written out": (
        "tests/unit/test_iscsi_decide.py::test_detach"
    ),
}
