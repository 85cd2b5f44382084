mod examples;
mod later_bridges;
mod round_trips;
