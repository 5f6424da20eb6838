# SPDX-License-Identifier: GPL-2.0
# results.py: run the tests of one module of CPython's own suite, and write "NAME RESULT" for each.
#
#   results.py FILE MODULE
#
# Its own runner prints for people, among what the tests print.
import faulthandler
import sys
import unittest


class Results(unittest.TextTestResult):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.worst = {}

    def startTest(self, test):
        super().startTest(test)
        # What hangs is told, and the rest of the module is not run
        faulthandler.dump_traceback_later(60, exit=True)

    def stopTest(self, test):
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        print(test.id(), self.worst.get(test.id(), "ok"), file=out, flush=True)

    def note(self, test, what):
        # (A subtest, or what stands for a class that could not be set up, has its own name)
        name = getattr(test, "test_case", test).id()
        self.worst[name] = what
        if not hasattr(test, "_testMethodName") and not hasattr(test, "test_case"):
            print(name, what, file=out, flush=True)

    def addError(self, test, err):
        super().addError(test, err)
        self.note(test, "error")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, "failure")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.note(test, "failure")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped")


out = open(sys.argv[1], "w")
tests = unittest.defaultTestLoader.loadTestsFromName(sys.argv[2])
unittest.TextTestRunner(resultclass=Results, verbosity=2, stream=sys.stdout).run(tests)
