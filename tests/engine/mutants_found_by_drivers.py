"""Which test of OpenNebula's drivers finds which planted bug."""

BY_DRIVERS = {
    "a script for what many read never comes late": (
        "tests/opennebula/test_deploy.py::test_what_others_may_have_comes_late_as_well"
    ),
    "a host's devices are not given to who runs QEMU": "tests/opennebula/test_install.py::test_a_host_serves_oneadmin",
    "DELETE believes oned alone": "tests/opennebula/test_deploy.py::test_what_is_not_ours_is_never_taken_for_a_copy",
    "DELETE takes what is persistent for a copy": (
        "tests/opennebula/test_delete.py::test_a_flag_that_says_no_keeps_even_a_copy"
    ),
    "a VM that is DONE already is not cleaned up at the host before": (
        "tests/opennebula/test_delete.py::test_a_cold_migration_that_is_given_up_leaves_nothing"
    ),
    "a VM that is powered off is taken for one that is DONE": (
        "tests/opennebula/test_delete.py::test_a_vm_that_is_only_powered_off_keeps_its_copy_where_it_is"
    ),
    "a link goes before its disk is let go": "tests/opennebula/test_delete.py::test_in_use_is_not_taken_away",
    "a move attaches before it is free at the source": (
        "tests/opennebula/test_moves.py::test_nothing_is_attached_there_before_it_is_free_here"
    ),
    "a lost host is not withdrawn": (
        "tests/opennebula/test_moves.py::test_a_lost_host_is_withdrawn_first_and_never_asked"
    ),
    "what is attached for a migration stays for good": (
        "tests/opennebula/test_migrate.py::test_what_was_attached_for_a_migration_that_nobody_ends_goes_by_itself"
    ),
    "a script's number is not said": (
        "tests/opennebula/test_deploy.py::test_a_script_that_comes_after_its_vm_has_gone_leaves_nothing"
    ),
    "a path that looks like an allowed one": "tests/opennebula/test_datastore.py::test_what_may_not_be_registered",
    "nobody could be asked, so that the image is gone": (
        "tests/opennebula/test_datastore.py::test_that_nobody_can_be_asked_is_no_end_of_an_image"
    ),
    "a snapshot that is there already is taken for the new one": (
        "tests/opennebula/test_snapshots.py::test_one_that_was_left_by_what_broke_off_is_not_taken_for_the_new_one"
    ),
    "a delete that goes on has failed": (
        "tests/opennebula/test_delete.py::test_a_copy_that_takes_long_to_delete_is_asked_for_again"
    ),
    "what has begun at one host is begun at another as well": (
        "tests/opennebula/test_sizes.py::test_a_copy_that_is_still_made_is_no_image_and_keeps_what_it_is_made_of"
    ),
    "a copy that is still being made is an image": (
        "tests/opennebula/test_sizes.py::test_a_copy_that_is_still_made_is_no_image_and_keeps_what_it_is_made_of"
    ),
    "an object is two images": "tests/opennebula/test_datastore.py::test_one_object_is_one_image",
    "a host that does not answer is lost": (
        "tests/opennebula/test_moves.py::test_what_was_powered_off_at_a_lost_host_is_withdrawn_once_oned_has_given_it_up"
    ),
    "a VM that goes to another system datastore leaves its links behind": (
        "tests/opennebula/test_migrate.py::test_within_one_host_it_goes_to_another_system_datastore"
    ),
    "a host is withdrawn when one of its names is": (
        "tests/opennebula/test_host_lost.py::test_a_name_that_was_another_proves_nothing"
    ),
    "a server that knows nothing of a persistent object has withdrawn its host": (
        "tests/opennebula/test_host_lost.py::test_what_is_no_proof"
    ),
    "a server is asked through the host that is lost": (
        "tests/opennebula/test_host_lost.py::test_it_is_withdrawn_and_then_its_vms_are_made_anew"
    ),
    "VMs are migrated to where their disks are not": "tests/opennebula/test_stock.py::test_live_migration_asks_both",
    "a guest that was on its way to the lost host is started a second time": (
        "tests/opennebula/test_host_lost.py::test_a_guest_that_was_on_its_way_there_may_still_run_elsewhere"
    ),
    "the source that MKFS tells has a format behind it": (
        "tests/opennebula/test_datastore.py::test_a_disk_is_saved_where_mkfs_has_said"
    ),
    "a DELETE that was given up ends where nobody hears it": (
        "tests/opennebula/test_delete.py::test_who_was_given_up_goes_on_though_nobody_hears_it"
    ),
    "a connection that ssh keeps holds up its script": (
        "tests/opennebula/test_deploy.py::test_a_connection_that_ssh_keeps_is_not_waited_for"
    ),
}
