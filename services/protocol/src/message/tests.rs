mod examples;
mod round_trips;
