"""Which unit test, or test of both hosts, finds which planted bug."""

BY_UNITS = {
    "an interface's empty initiator name taken for one": (
        "tests/unit/test_linux_sysfs.py::test_the_name_that_a_login_by_an_interface_says"
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
    "a reference followed before it is deleted": (
        "tests/unit/test_cdmi_references.py::test_a_reference_is_deleted_and_what_it_leads_to_stays"
    ),
    "what is only to be deleted counts as gone": (
        "tests/unit/test_cdmi_references.py::test_what_was_only_to_be_deleted_and_stays_is_told_of"
    ),
    "one without its ID taken for another than what was deleted": (
        "tests/unit/test_cdmi_objects.py::test_an_object_that_hides_its_id_while_it_is_deleted_is_there_still"
    ),
    "one look that fails after a DELETE ends the waiting": (
        "tests/unit/test_cdmi_references.py::test_a_look_that_fails_meanwhile_is_no_end_of_the_waiting"
    ),
    "what is being deleted is said to have failed": (
        "tests/unit/test_cdmi_references.py::test_what_was_only_to_be_deleted_and_stays_is_told_of"
    ),
    "a server is asked to copy what it says not to copy": (
        "tests/unit/test_cdmi_restored.py::test_into_what_says_that_no_containers_are_copied_there_none_is"
    ),
    "a LUN asked whether its pool takes copies": (
        "tests/unit/test_cdmi_restored.py::test_into_what_says_that_no_containers_are_copied_there_none_is"
    ),
    "an export removed on the strength of an old look": (
        "tests/unit/test_cdmi_exporting.py::test_an_export_is_not_taken_from_a_host_that_is_let_in_while_it_is_removed"
    ),
    "a value of another host's that begins and ends like ours taken for it where the answer was lost": (
        "tests/unit/test_cdmi_uploads.py::test_another_hosts_value_that_begins_and_ends_like_ours_is_not_taken_for_it"
    ),
    "the kernel's name of another kind contradicts": (
        "tests/unit/test_linux_designators.py::test_the_right_unit_by_any_of_its_names"
    ),
    "a link that udev does not keep is left": (
        "tests/unit/test_linux_links.py::test_of_two_disks_that_say_the_same_only_the_proved_one_is_linked"
    ),
    "drop-ins that cannot be looked for are passed over": (
        "tests/unit/test_config.py::test_drop_ins_that_cannot_be_looked_for_are_not_passed_over"
    ),
    "what a server calls things is told as it is": (
        "tests/unit/test_cdmi_one.py::test_a_line_is_ascii_whatever_a_server_calls_things"
    ),
    "CHAP shown to whoever the daemon names": "tests/unit/test_confined.py::test_what_the_configuration_does_not_allow",
    "a domain is given what somebody else's link leads to": (
        "tests/unit/test_confined.py::test_only_what_is_published_here_is_given_to_a_domain"
    ),
    "any disk is read that has a link": "tests/unit/test_confined.py::test_only_what_is_published_here_is_read",
    "a map is ours for its name": (
        "tests/unit/test_confined.py::test_a_map_of_others_is_not_ours_because_its_name_was_announced_first"
    ),
    "intent recorded after the act": "tests/unit/test_guarded_crashes.py::test_a_crash_at_any_point_is_undone",
    "a mount recorded after it was made": "tests/unit/test_guarded_nfs.py::test_a_crash_at_any_point_is_undone",
    "a file of another file system taken for the one that was handed out": "tests/unit/test_nfs_decide.py::test_attach",
    "a link left that leads to another file": "tests/unit/test_nfs_decide.py::test_attach",
    "a failed flush taken for one that was done": "tests/unit/test_iscsi_decide.py::test_detach",
    "a disk that fell silent removed, though its cache may not be written out": (
        "tests/unit/test_iscsi_decide.py::test_detach"
    ),
    "what the kernel found before us taken for ours": (
        "tests/unit/test_guarded_owned.py::test_what_was_there_before_is_borrowed_for_ever"
    ),
    "what a reboot brought back taken for somebody's": (
        "tests/unit/test_guarded_owned.py::test_our_word_outlasts_a_reboot_and_the_helper"
    ),
    "another unit left in the map": "tests/unit/test_maps_decide.py::test_attach",
    "a map handed out with any path": "tests/unit/test_maps_decide.py::test_attach",
    "somebody's map taken apart": "tests/unit/test_maps_decide.py::test_detach",
    "the permission goes from under whoever uses a borrowed disk": "tests/unit/test_users_decide.py::test_detach",
    "whatever was published once may be handed out beside anybody": (
        "tests/host/test_users.py::test_what_was_handed_out_is_so_again_beside_its_user"
    ),
    "a LUN of iSCSI is not said to be ours before it is asked for": "tests/unit/test_iscsi_decide.py::test_attach",
    "a helper that stops leaves a write-out behind": (
        "tests/unit/test_nfs_removal.py::test_a_helper_that_stops_waits_for_a_write_out"
    ),
    "a silent disk removed, though what was written to it never was written out": (
        "tests/unit/test_unwritten_decide.py::test_detach"
    ),
    "a map without a usable path removed, though what was written to it never was written out": (
        "tests/unit/test_maps_decide.py::test_detach"
    ),
    "a write-out whose answer was lost in a power cut taken for done": (
        "tests/unit/test_guarded_crashes.py::test_a_write_out_whose_answer_was_lost_in_a_power_cut_is_not_taken_for_done"
    ),
    "a disk deleted in running order though another unit answers": (
        "tests/unit/test_linux_blocks.py::test_nothing_is_written_to_another_disk_though_a_loss_is_known"
    ),
    "a disk behind which another unit answers removed with a plain yes": (
        "tests/unit/test_unwritten_decide.py::test_detach"
    ),
    "a removal broken off while it waits for its server": (
        "tests/unit/test_nfs_removal.py::test_a_slow_one_goes_on_and_says_what_came_of_it"
    ),
    "a flush that waits for its server in the way of the whole share": (
        "tests/unit/test_under_way.py::test_a_flush_that_waits_for_its_server_is_in_the_way_of_its_own_disk_and_of_its_mount_alone"
    ),
    "a share unmounted under a flush that waits for its server": (
        "tests/unit/test_under_way.py::test_a_flush_that_waits_for_its_server_is_in_the_way_of_its_own_disk_and_of_its_mount_alone"
    ),
    "a map of a disk that was not proved never seen": (
        "tests/unit/test_linux_maps.py::test_a_map_of_a_disk_that_was_not_proved_is_found_to_be_taken_away_and_for_nothing_else"
    ),
    "a map of a disk that was not proved kept in multipath's list": (
        "tests/unit/test_linux_maps.py::test_a_map_of_such_a_name_is_removed_as_the_units_own"
    ),
}
