"""Which test finds which planted bug: asked first, it saves `make mutants` minutes for each."""

from tests.engine.mutants_found_by_drivers import BY_DRIVERS
from tests.engine.mutants_found_by_engine import BY_ENGINE
from tests.engine.mutants_found_by_units import BY_UNITS

FOUND_BY = {**BY_UNITS, **BY_ENGINE, **BY_DRIVERS}
