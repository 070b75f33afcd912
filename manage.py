#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line

from serving.orphan import watch_parent

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    watch_parent()
    execute_from_command_line(sys.argv)
