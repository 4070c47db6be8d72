# One script of a transfer driver, with a standard input, by OpenNebula's own class as its one_vmm_exec.rb has it run.
# SCRIPT ID WORDS STDIN, the last two in base64, or - where there is none: of genuine.py.

require "#{ENV['ONE_LOCATION']}/lib/mads/one_tm.rb"
require 'base64'

class Scripts < TransferManagerDriver

    def initialize
        super(nil)
        register_action(:SCRIPT, method('script'))
    end

    def script(id, words, stdin)
        command = Base64.decode64(words).split("\n")
        result, info = do_transfer_action(id, command, stdin == '-' ? nil : Base64.decode64(stdin))
        send_message('SCRIPT', result, id, info)
    rescue StandardError => e
        send_message('SCRIPT', RESULT[:failure], id, e.message)
    end

end

Scripts.new.start_driver
