"""The contract on the driver of this folder; copied beside it under a name that pytest collects."""

import logging

import pytest
import shelf

from dispatcher.contract import DriverContract
from dispatcher.driver import DriverSettings


class TestShelf(DriverContract):
    @pytest.fixture
    def driver_factory(self, tmp_path):
        def make(set_id):
            log = logging.getLogger("shelf")
            parameters = {"Folder": str(tmp_path)}
            return shelf.open(DriverSettings(parameters=parameters, instance_set_id=set_id, tag_prefix="ContractTest", log=log))

        return make
